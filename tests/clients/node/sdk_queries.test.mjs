// What the official SDK for Node asks of the server: channels, counts, and its raw calls.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { answers, seated } from '../support/seats.mjs';
import { APPS } from '../support/server.mjs';
import { SOON, within } from '../support/wait.mjs';

/** Three clients: all on one channel, two on another, none elsewhere. */
const hall = seated([
    { channels: ['orders', 'private-desk'] },
    { channels: ['orders', 'private-desk'] },
    { channels: ['orders'] },
]);

const channels = (params) => hall.sdk().get({ path: '/channels', params });
const channel = (name, info) => hall.sdk().get({ path: `/channels/${name}`, params: info && { info } });

test('all channels that somebody is on', async () => {
    await answers(channels(), { channels: { orders: {}, 'private-desk': {} } });
});

test('channels by prefix', async () => {
    await answers(channels({ filter_by_prefix: 'private-' }), { channels: { 'private-desk': {} } });
    await answers(channels({ filter_by_prefix: 'presence-', info: 'user_count' }), { channels: {} });
});

test('an app where nobody is has an object without channels', async () => {
    await answers(hall.sdk(APPS[1]).get({ path: '/channels' }), { channels: {} });
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
    await assert.rejects(hall.sdk().get({ path: '/channels/orders/users' }), { status: 400 });
});

test('the number of connections, by app', async () => {
    await answers(hall.sdk().get({ path: '/connections' }), { connections: 3 });
    await answers(hall.sdk(APPS[1]).get({ path: '/connections' }), { connections: 0 });
});

test('a trigger tells what is asked of its channels', async () => {
    const request = hall.sdk().trigger(['orders', 'private-desk'], 'asked', 1, { info: 'subscription_count' });
    const expected = { orders: { subscription_count: 3 }, 'private-desk': { subscription_count: 2 } };
    await answers(request, { channels: expected });
});

test('a batch tells what is asked of each event, in order', async () => {
    const batch = [
        { channel: 'orders', name: 'asked', data: 1, info: 'subscription_count' },
        { channel: 'orders', name: 'not-asked', data: 2 },
        { channel: 'private-desk', name: 'asked', data: 3, info: 'subscription_count' },
    ];
    await answers(hall.sdk().triggerBatch(batch), { batch: [{ subscription_count: 3 }, {}, { subscription_count: 2 }] });
});

test('a raw POST triggers like any other', async () => {
    const body = { name: 'raw', channel: 'orders', data: '{"by":"hand"}' };
    await answers(hall.sdk().post({ path: '/events', body }), {});
    const events = await within(SOON, 'the event', hall.clients[0].until('orders', 'raw'));
    assert.deepEqual(events.at(-1).data, { by: 'hand' });
});

test('a query that the SDK has signed can be sent by anything', async () => {
    const path = `/apps/${APPS[0].id}/channels`;
    const query = hall.sdk().createSignedQueryString({ method: 'GET', path, params: {} });
    const url = `http://127.0.0.1:${hall.server.port}${path}?${query}`;
    await answers(fetch(url), { channels: { orders: {}, 'private-desk': {} } });
});

test('a query with a wrong secret is refused with 401', async () => {
    await assert.rejects(hall.sdk(APPS[0], { secret: 'wrong' }).get({ path: '/channels' }), { status: 401 });
});
