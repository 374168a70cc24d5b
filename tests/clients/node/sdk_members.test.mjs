// What the official SDK for Node asks about members of presence channels.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { BackEnd } from '../support/back_end.mjs';
import { NodeClients } from '../support/node_clients.mjs';
import { APPS, Server } from '../support/server.mjs';
import { SOON, within } from '../support/wait.mjs';

const ROOM = 'presence-room';
let server;
let backEnd;
const clients = [];

/** Ann with two tabs and Cyd with one, all in the room; Ann's first tab on a public channel as well. */
before(async () => {
    server = await Server.start();
    backEnd = await BackEnd.start();
    const source = new NodeClients();
    for (const [user, ...channels] of [['ann', ROOM, 'orders'], ['ann', ROOM], ['cyd', ROOM]]) {
        const settings = { kind: 'pusher-js', key: APPS[0].key, port: server.port, backEnd: backEnd.url, user };
        const client = await source.open(settings);
        clients.push(client);
        await within(SOON, 'a connection', client.connected());
        for (const channel of channels) await within(SOON, 'a subscription', client.subscribe(channel));
    }
});
after(async () => {
    clients.forEach((client) => client.close());
    await backEnd?.stop();
    await server?.stop();
});

async function answers(request, expected) {
    const response = await request;
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), expected);
}

test('channels by prefix, with the number of members', async () => {
    const params = { filter_by_prefix: 'presence-', info: 'user_count' };
    await answers(server.sdk().get({ path: '/channels', params }), { channels: { [ROOM]: { user_count: 2 } } });
});

test('one presence channel, with the number of members and not of connections', async () => {
    const params = { info: 'user_count' };
    await answers(server.sdk().get({ path: `/channels/${ROOM}`, params }), { occupied: true, user_count: 2 });
});

test('the users of a presence channel, ids as text', async () => {
    const response = await server.sdk().get({ path: `/channels/${ROOM}/users` });
    const { users } = await response.json();
    assert.deepEqual(users.map(({ id }) => id).toSorted(), ['7', '9']);
});

test('a trigger tells what is asked of its channels', async () => {
    const info = 'user_count,subscription_count';
    const response = await server.sdk().trigger([ROOM, 'orders', 'nobody'], 'asked', 1, { info });
    const { channels } = await response.json();
    assert.equal(channels[ROOM].user_count, 2);
    assert.equal(channels.orders.subscription_count, 1);
    assert.ok('nobody' in channels);
});

test('a batch tells what is asked of each event, in order', async () => {
    const batch = [
        { channel: ROOM, name: 'asked', data: 1, info: 'user_count' },
        { channel: 'orders', name: 'not-asked', data: 2 },
    ];
    await answers(server.sdk().triggerBatch(batch), { batch: [{ user_count: 2 }, {}] });
});
