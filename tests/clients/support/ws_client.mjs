// A subscriber over the npm package `ws`, on which most clients for Node are built: `ws` offers compression, and
// compresses all that it says itself; `ws-plain` offers none.

import { WebSocket } from './packages.mjs';

export const WS_KINDS = ['ws', 'ws-plain'];

/** Has those methods of a Recorder that are needed. */
export class WsClient {
    constructor({ kind, key, port }) {
        const perMessageDeflate = kind === 'ws' && { threshold: 0 };
        this.events = [];
        this.watchers = new Set();
        this.socket = new WebSocket(`ws://127.0.0.1:${port}/app/${key}?protocol=7`, { perMessageDeflate });
        this.socket.on('message', (bytes) => this.#hear(JSON.parse(bytes)));
        this.socket.on('error', (error) => this.#fail(error));
        this.socket.on('close', (code) => this.#fail(new Error(`closed with ${code}`)));
    }

    async connected() {
        await this.#until(() => this.socketId);
        return this.socketId;
    }

    async subscribe(channel) {
        this.socket.send(JSON.stringify({ event: 'pusher:subscribe', data: { channel } }));
        const isIt = (heard) => heard.channel === channel && heard.event === 'pusher_internal:subscription_succeeded';
        await this.#until(() => this.events.some(isIt));
        this.events = this.events.filter((heard) => !isIt(heard));
    }

    /** The events of a channel, once `event` has come that often. */
    async until(channel, event, count = 1) {
        await this.#until(() => this.events.filter((heard) => heard.channel === channel && heard.event === event).length >= count);
        return this.events.filter((heard) => heard.channel === channel);
    }

    close() {
        this.socket.close();
    }

    #hear({ event, channel, data }) {
        if (event === 'pusher:connection_established') this.socketId = JSON.parse(data).socket_id;
        this.events.push({ channel, event, data });
        this.watchers.forEach((watcher) => watcher());
    }

    #fail(error) {
        this.error = error;
        this.watchers.forEach((watcher) => watcher());
    }

    #until(condition) {
        return new Promise((resolve, reject) => {
            const watcher = () => {
                const isTrue = condition();
                if (!isTrue && !this.error) return;
                this.watchers.delete(watcher);
                if (isTrue) resolve();
                else reject(this.error);
            };
            this.watchers.add(watcher);
            watcher();
        });
    }
}
