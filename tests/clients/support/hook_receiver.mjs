// A back end that is told by webhooks: it keeps every request as it came, and takes it.

import http from 'node:http';

export class HookReceiver {
    static async start() {
        const receiver = new HookReceiver();
        /** Headers and raw body of each request, in order. */
        receiver.requests = [];
        receiver.watchers = new Set();
        receiver.http = http.createServer((request, response) => receiver.#take(request, response));
        await new Promise((resolve) => receiver.http.listen(0, '127.0.0.1', resolve));
        receiver.url = `http://127.0.0.1:${receiver.http.address().port}/hooks`;
        return receiver;
    }

    async stop() {
        this.http.closeAllConnections();
        await new Promise((resolve) => this.http.close(resolve));
    }

    /** All events so far, unchecked. */
    events() {
        return this.requests.flatMap(({ rawBody }) => JSON.parse(rawBody).events);
    }

    /** Waits until such an event is among them. */
    told(name, channel) {
        return new Promise((resolve) => {
            const look = () => {
                if (!this.events().some((event) => event.name === name && event.channel === channel)) return;
                this.watchers.delete(look);
                resolve();
            };
            this.watchers.add(look);
            look();
        });
    }

    async #take(request, response) {
        let rawBody = '';
        for await (const piece of request) rawBody += piece;
        const { headers, rawHeaders } = request;
        this.requests.push({ headers, rawHeaders, rawBody });
        response.writeHead(204).end();
        this.watchers.forEach((watcher) => watcher());
    }
}
