// Stands between one client and the server and passes on what they say. It tells what they agreed on and how many bytes
// came, which no client tells of itself.

import net from 'node:net';

const END = '\r\n\r\n';

export class Relay {
    static async start(port) {
        const relay = new Relay();
        /** The extensions in the client's request and in the server's answer; '' where none is named. */
        relay.offered = '';
        relay.agreed = '';
        /** Bytes from the server, the answer to the handshake included. */
        relay.received = 0;
        relay.sockets = [];
        relay.door = net.createServer((client) => relay.#join(client, net.connect(port, '127.0.0.1')));
        await new Promise((resolve) => relay.door.listen(0, '127.0.0.1', resolve));
        relay.port = relay.door.address().port;
        return relay;
    }

    async stop() {
        for (const socket of this.sockets) socket.destroy();
        await new Promise((resolve) => this.door.close(resolve));
    }

    #join(client, server) {
        this.sockets.push(client, server);
        // Whoever is gone takes the other along; who noticed it first does not matter here.
        for (const [from, to] of [[client, server], [server, client]]) from.on('error', () => to.destroy());
        onHead(client, (head) => { this.offered = extensions(head); });
        onHead(server, (head) => { this.agreed = extensions(head); });
        server.on('data', (bytes) => { this.received += bytes.length; });
        client.pipe(server).pipe(client);
    }
}

/** Calls back with the head that a side begins with. */
function onHead(socket, callback) {
    let head = '';
    const read = (bytes) => {
        head += bytes.toString('latin1');
        if (!head.includes(END)) return;
        socket.off('data', read);
        callback(head.slice(0, head.indexOf(END)));
    };
    socket.on('data', read);
}

const extensions = (head) => /^sec-websocket-extensions: *(.*)$/im.exec(head)?.[1].trim() ?? '';
