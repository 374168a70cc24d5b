// What a file of tests about the SDK stands on: one server for all of them, and clients that sit on channels meanwhile.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';

import { BackEnd } from './back_end.mjs';
import { NodeClients } from './node_clients.mjs';
import { APPS, Server } from './server.mjs';
import { SOON, within } from './wait.mjs';

/** Declares the start and the end. Each seat is one pusher-js client: who is logged in, and its channels. */
export function seated(seats) {
    const hall = new Hall();
    before(() => hall.open(seats));
    after(() => hall.close());
    return hall;
}

class Hall {
    clients = [];

    async open(seats) {
        this.server = await Server.start();
        this.backEnd = await BackEnd.start();
        for (const { user, channels } of seats) await this.seat(user, channels);
    }

    /** One client more; on as many cores as the server likes. */
    async seat(user, channels = []) {
        const { backEnd: { url: backEnd }, server: { port } } = this;
        const client = await new NodeClients().open({ kind: 'pusher-js', key: APPS[0].key, port, backEnd, user });
        this.clients.push(client);
        client.socketId = await within(SOON, 'a connection', client.connected());
        for (const channel of channels) await within(SOON, 'a subscription', client.subscribe(channel));
        return client;
    }

    async close() {
        this.clients.forEach((client) => client.close());
        await this.backEnd?.stop();
        await this.server?.stop();
    }

    sdk = (...changes) => this.server.sdk(...changes);
}

/** The SDK's call must be answered with 200 and exactly this. */
export async function answers(request, expected) {
    const response = await request;
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), expected);
}
