// A server that ends connections as a test asks, to see what a client does then. The app key is the script:
//
//   close-CODE    greets, then closes with that code
//   refuse-CODE   says `pusher:error` in place of a greeting, then closes with that code
//   error-CODE    greets, says `pusher:error`, and stays
//   close-none    greets, then closes with no code
//   drop          greets, then ends TCP without a word
//
// Every later connection with the same key is greeted and kept. A second port waits for those who turn to TLS.

import net from 'node:net';

import { WebSocketServer } from './packages.mjs';
import { SOON, within } from './wait.mjs';

/** A TLS record of a handshake begins with it. */
const TLS_HANDSHAKE = 0x16;

export class ScriptedServer {
    static async start() {
        const server = new ScriptedServer();
        server.visits = new Map();
        server.watchers = new Set();
        server.plain = new WebSocketServer({ port: 0, host: '127.0.0.1' });
        server.plain.on('connection', (socket, request) => server.#receive(socket, request));
        server.secure = net.createServer((socket) => {
            socket.on('error', () => {});
            socket.once('data', (bytes) => {
                server.#note('tls', bytes[0] === TLS_HANDSHAKE);
                socket.destroy();
            });
        });
        server.secure.listen(0, '127.0.0.1');
        for (const one of [server.plain, server.secure]) {
            if (!one.address()) await new Promise((resolve) => one.once('listening', resolve));
        }
        server.port = server.plain.address().port;
        server.securePort = server.secure.address().port;
        return server;
    }

    async stop() {
        this.plain.clients.forEach((socket) => socket.terminate());
        for (const one of [this.plain, this.secure]) await new Promise((resolve) => one.close(resolve));
    }

    /** When connections with this key came, and when the first of them was ended, in milliseconds. */
    of(key) {
        return this.visits.get(key) ?? [];
    }

    /** Waits for the second connection with this key; tells how long after the end of the first it came. */
    async returns(key) {
        await this.comes(key, 2);
        const [first, second] = this.of(key);
        return second.came - first.ended;
    }

    async comes(key, count = 1) {
        await within(SOON, `visit ${count} of ${key}`, new Promise((resolve) => {
            const look = () => this.of(key).length >= count && resolve();
            this.watchers.add(look);
            look();
        }));
        return this.of(key);
    }

    #note(key, visit) {
        this.visits.set(key, [...this.of(key), visit]);
        this.watchers.forEach((look) => look());
    }

    #receive(socket, request) {
        const [, key] = /^\/app\/([^?]+)/.exec(request.url);
        const visit = { came: performance.now() };
        const isFirst = this.of(key).length === 0;
        const [verb, code] = key.split('-');
        const say = (event, data) => socket.send(JSON.stringify({ event, data: JSON.stringify(data) }));
        const greet = () => say('pusher:connection_established', { socket_id: '1.1', activity_timeout: 30 });
        const complain = () => say('pusher:error', { code: Number(code), message: `script ${key}` });
        socket.on('error', () => {});
        socket.on('message', (text) => {
            if (JSON.parse(text).event === 'pusher:ping') say('pusher:pong', {});
            // The client speaks only after it has read the greeting, so this ends a connection in use.
            else if (isFirst) this.#end(socket, visit, verb, code);
        });
        if (isFirst && verb === 'refuse') {
            complain();
            this.#end(socket, visit, verb, code);
        } else {
            greet();
        }
        if (isFirst && verb === 'error') complain();
        this.#note(key, visit);
    }

    #end(socket, visit, verb, code) {
        visit.ended = performance.now();
        if (verb === 'drop') socket.terminate();
        else if (code === 'none') socket.close();
        else socket.close(Number(code), 'as the script says');
    }
}
