// What the official SDK for Node asks of the server: channels, counts, and its raw calls.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { BackEnd } from '../support/back_end.mjs';
import { NodeClients } from '../support/node_clients.mjs';
import { APPS, Server } from '../support/server.mjs';
import { SOON, within } from '../support/wait.mjs';

let server;
let backEnd;
const clients = [];

/** Three clients, on as many cores as the server likes: all on one channel, two on another, none elsewhere. */
before(async () => {
    server = await Server.start();
    backEnd = await BackEnd.start();
    const source = new NodeClients();
    for (const channels of [['orders', 'private-desk'], ['orders', 'private-desk'], ['orders']]) {
        const settings = { kind: 'pusher-js', key: APPS[0].key, port: server.port, backEnd: backEnd.url };
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

/** The SDK's call must be answered with 200 and exactly this. */
async function answers(request, expected) {
    const response = await request;
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), expected);
}

const channels = (params) => server.sdk().get({ path: '/channels', params });
const channel = (name, info) => server.sdk().get({ path: `/channels/${name}`, params: info && { info } });

test('all channels that somebody is on', async () => {
    await answers(channels(), { channels: { orders: {}, 'private-desk': {} } });
});

test('channels by prefix', async () => {
    await answers(channels({ filter_by_prefix: 'private-' }), { channels: { 'private-desk': {} } });
    await answers(channels({ filter_by_prefix: 'presence-', info: 'user_count' }), { channels: {} });
});

test('an app where nobody is has an object without channels', async () => {
    await answers(server.sdk(APPS[1]).get({ path: '/channels' }), { channels: {} });
});

test('one channel, with what is asked for', async () => {
    await answers(channel('orders'), { occupied: true });
    await answers(channel('orders', 'subscription_count'), { occupied: true, subscription_count: 3 });
    await answers(channel('private-desk', 'subscription_count'), { occupied: true, subscription_count: 2 });
});

test('a channel that nobody is on is not occupied', async () => {
    await answers(channel('nobody'), { occupied: false });
});

test('the users of a channel without members are refused with 400', async () => {
    await assert.rejects(server.sdk().get({ path: '/channels/orders/users' }), { status: 400 });
});

test('the number of connections, by app', async () => {
    await answers(server.sdk().get({ path: '/connections' }), { connections: 3 });
    await answers(server.sdk(APPS[1]).get({ path: '/connections' }), { connections: 0 });
});

test('a trigger tells what is asked of its channels', async () => {
    const request = server.sdk().trigger(['orders', 'private-desk'], 'asked', 1, { info: 'subscription_count' });
    const expected = { orders: { subscription_count: 3 }, 'private-desk': { subscription_count: 2 } };
    await answers(request, { channels: expected });
});

test('a batch tells what is asked of each event, in order', async () => {
    const batch = [
        { channel: 'orders', name: 'asked', data: 1, info: 'subscription_count' },
        { channel: 'orders', name: 'not-asked', data: 2 },
        { channel: 'private-desk', name: 'asked', data: 3, info: 'subscription_count' },
    ];
    await answers(server.sdk().triggerBatch(batch), { batch: [{ subscription_count: 3 }, {}, { subscription_count: 2 }] });
});

test('a raw POST triggers like any other', async () => {
    const body = { name: 'raw', channel: 'orders', data: '{"by":"hand"}' };
    await answers(server.sdk().post({ path: '/events', body }), {});
    const events = await within(SOON, 'the event', clients[0].until('orders', 'raw'));
    assert.deepEqual(events.at(-1).data, { by: 'hand' });
});

test('a query that the SDK has signed can be sent by anything', async () => {
    const path = `/apps/${APPS[0].id}/channels`;
    const query = server.sdk().createSignedQueryString({ method: 'GET', path, params: {} });
    const url = `http://127.0.0.1:${server.port}${path}?${query}`;
    await answers(fetch(url), { channels: { orders: {}, 'private-desk': {} } });
});

test('a query with a wrong secret is refused with 401', async () => {
    await assert.rejects(server.sdk(APPS[0], { secret: 'wrong' }).get({ path: '/channels' }), { status: 401 });
});
