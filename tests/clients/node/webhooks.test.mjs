// Webhooks, as the checker of the official SDK for Node judges them: every kind, from the real server.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { BackEnd } from '../support/back_end.mjs';
import { HookReceiver } from '../support/hook_receiver.mjs';
import { NodeClients } from '../support/node_clients.mjs';
import { APPS, Server } from '../support/server.mjs';
import { SOON, within } from '../support/wait.mjs';

const ROOM = 'presence-hooks';
const CACHE = 'cache-hooks';
let receiver;
let server;
let backEnd;
let annsSocket;

/** Ann and Cyd, whose id is a number, meet and leave; Ann says something and looks at a cache channel. */
before(async () => {
    receiver = await HookReceiver.start();
    server = await Server.start({ webhooks: receiver.url });
    backEnd = await BackEnd.start();
    const source = new NodeClients();
    const clients = {};
    for (const user of ['ann', 'cyd']) {
        const settings = { kind: 'pusher-js', key: APPS[0].key, port: server.port, backEnd: backEnd.url, user };
        clients[user] = await source.open(settings);
        await within(SOON, 'a connection', clients[user].connected());
        await within(SOON, 'a subscription', clients[user].subscribe(ROOM));
    }
    annsSocket = await clients.ann.connected();
    clients.ann.whisper(ROOM, 'typing', { on: true });
    await within(SOON, 'a subscription', clients.ann.subscribe(CACHE));
    await within(SOON, 'a client event', receiver.told('client_event', ROOM));
    clients.cyd.close();
    await within(SOON, 'a departure', receiver.told('member_removed', ROOM));
    clients.ann.close();
    for (const channel of [ROOM, CACHE]) await within(SOON, 'the end', receiver.told('channel_vacated', channel));
});
after(async () => {
    await backEnd?.stop();
    await server?.stop();
    await receiver?.stop();
});

/** The checker of an app's SDK, with a request. */
const checked = (request, app = APPS[0]) => server.sdk(app).webhook(request);

test('the checker finds every request sound', () => {
    for (const request of receiver.requests) assert.ok(checked(request).isValid(), JSON.stringify(request));
});

test('every kind is told, in order, as the checker reads it', () => {
    const events = receiver.requests.flatMap((request) => checked(request).getEvents());
    // How many subscribers there are is told besides, a turn later; members count each other.
    const inOrder = events.filter((event) => event.name !== 'subscription_count');
    const of = (channel) => inOrder.filter((event) => event.channel === channel);
    const told = (name, channel, more = {}) => ({ name, channel, ...more });
    assert.deepEqual(of(ROOM), [
        told('channel_occupied', ROOM),
        told('member_added', ROOM, { user_id: '7' }),
        told('member_added', ROOM, { user_id: '9' }),
        told('client_event', ROOM, {
            event: 'client-typing', data: '{"on":true}', socket_id: annsSocket, user_id: '7',
        }),
        told('member_removed', ROOM, { user_id: '9' }),
        told('member_removed', ROOM, { user_id: '7' }),
        told('channel_vacated', ROOM),
    ]);
    const cache = ['channel_occupied', 'cache_miss', 'channel_vacated'];
    assert.deepEqual(of(CACHE), cache.map((name) => told(name, CACHE)));
    const counts = events.filter((event) => event.name === 'subscription_count');
    assert.deepEqual(counts, [told('subscription_count', CACHE, { subscription_count: 1 })]);
});

test('the checker reads the time of the request', () => {
    for (const request of receiver.requests) {
        const age = Date.now() - checked(request).getTime().getTime();
        assert.ok(Math.abs(age) < 300_000, `${age} ms`);
    }
});

test('the checker refuses what was changed on the way, and what another app signed', () => {
    const [request] = receiver.requests;
    assert.equal(checked({ ...request, rawBody: request.rawBody.replace('occupied', 'vacated') }).isValid(), false);
    assert.equal(checked(request, APPS[1]).isValid(), false);
});

test('the headers have the letter case in which programs in PHP look for them', () => {
    for (const { rawHeaders } of receiver.requests) {
        for (const name of ['Content-Type', 'X-Pusher-Key', 'X-Pusher-Signature']) assert.ok(rawHeaders.includes(name));
    }
});
