// Every call that the official SDK for Node has, at least once. The list is the SDK's own: a version with one more fails
// here until it has a test.

import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';

import { MASTER_KEYS } from '../support/back_end.mjs';
import { PusherSdk } from '../support/packages.mjs';
import { answers, seated } from '../support/seats.mjs';
import { APPS } from '../support/server.mjs';
import { SOON, within } from '../support/wait.mjs';

const [{ id: ID, key: KEY, secret: SECRET }] = APPS;
const SEALED = 'private-encrypted-desk';
const ROOM = 'presence-room';
const hall = seated([{ user: 'nobody', channels: ['orders', 'private-desk', SEALED, ROOM] }]);

const [encryptionMasterKeyBase64] = MASTER_KEYS;
const sdk = () => hall.sdk(APPS[0], { encryptionMasterKeyBase64 });
const place = () => `127.0.0.1:${hall.server.port}`;

/** The client hears it once. Names of events are of one test each. */
async function heard(channel, event, data, client = hall.clients[0]) {
    const events = await within(SOON, `${event} on ${channel}`, client.until(channel, event));
    const found = events.filter((other) => other.event === event);
    assert.deepEqual(found.map((other) => other.data), [data]);
}

/** A new client asks for a channel with a signature that the SDK has made, and gets it. */
async function admitted(channel, sign) {
    const client = await hall.seat('nobody');
    client.say('pusher:subscribe', { channel, ...sign(client.socketId) });
    await within(SOON, `a subscription to ${channel}`, client.confirmations(channel, 1));
}

/** Whom the vendor signs webhooks for in its own example. */
const VENDOR = { appId: '3', key: '278d425bdf160c739803', secret: '7ad3773142a6692b25b8', host: 'unused' };
const WEBHOOK = {
    headers: {
        'content-type': 'application/json',
        'x-pusher-key': VENDOR.key,
        'x-pusher-signature': 'c19001ae3963ccb13bf618e5b16ba9848e7e74df0993aa0689168e341c6833cf',
    },
    rawBody: '{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"my-channel"}]}',
};

/** By the name of the SDK's method. */
const CALLS = {
    async trigger() {
        await answers(sdk().trigger('orders', 'one', { id: 7 }), {});
        await heard('orders', 'one', { id: 7 });
        await answers(sdk().trigger(['orders', 'private-desk', 'nobody'], 'several', 'text'), {});
        for (const channel of ['orders', 'private-desk']) await heard(channel, 'several', 'text');
        const info = 'user_count,subscription_count';
        const asked = { channels: { [ROOM]: { user_count: 1, subscription_count: 1 } } };
        await answers(sdk().trigger(ROOM, 'asked', 1, { info, socket_id: hall.clients[0].socketId }), asked);
        await answers(sdk().trigger(ROOM, 'fence', 2), {});
        await heard(ROOM, 'fence', 2);
        assert.ok(!hall.clients[0].sent(ROOM).includes('asked'));
        await answers(sdk().trigger(SEALED, 'sealed', { to: 'Zoë' }), {});
        await heard(SEALED, 'sealed', { to: 'Zoë' });
    },

    async triggerBatch() {
        const batch = [
            { channel: 'orders', name: 'batch-1', data: { n: 1 }, info: 'subscription_count' },
            { channel: SEALED, name: 'batch-2', data: 'sealed' },
            { channel: 'orders', name: 'batch-3', data: [3], socket_id: '1.1' },
        ];
        await answers(sdk().triggerBatch(batch), { batch: [{ subscription_count: 1 }, {}, {}] });
        await heard('orders', 'batch-1', { n: 1 });
        await heard(SEALED, 'batch-2', 'sealed');
        await heard('orders', 'batch-3', [3]);
    },

    async sendToUser() {
        const client = await hall.seat('bob');
        await within(SOON, 'a sign-in', client.signIn());
        await answers(sdk().sendToUser('8', 'letter', { to: 'Bob' }), {});
        await heard('user', 'letter', { to: 'Bob' }, client);
    },

    async terminateUserConnections() {
        const client = await hall.seat('ann');
        await within(SOON, 'a sign-in', client.signIn());
        await answers(sdk().terminateUserConnections('7'), {});
        const { errors, willRetry } = await within(SOON, 'the end', client.reaches('disconnected'));
        assert.deepEqual([errors.at(-1).code, willRetry], [4009, false]);
        for (const id of ['a b', 'a/b', 'Zoë', 'zoe@example.com', 'users:7']) {
            await answers(sdk().terminateUserConnections(id), {});
        }
    },

    async get() {
        await answers(sdk().get({ path: `/channels/${ROOM}/users` }), { users: [{ id: '0' }] });
        await answers(sdk().get({ path: `/channels/${ROOM}`, params: { info: 'user_count' } }), { occupied: true, user_count: 1 });
        const params = { filter_by_prefix: 'presence-', info: 'user_count' };
        await answers(sdk().get({ path: '/channels', params }), { channels: { [ROOM]: { user_count: 1 } } });
    },

    async post() {
        await answers(sdk().post({ path: '/events', body: { name: 'raw', channel: 'orders', data: '"by hand"' } }), {});
        await heard('orders', 'raw', 'by hand');
    },

    async createSignedQueryString() {
        const path = `/apps/${ID}/channels`;
        const query = sdk().createSignedQueryString({ method: 'GET', path, params: { filter_by_prefix: 'nobody' } });
        await answers(fetch(`http://${place()}${path}?${query}`), { channels: {} });
        const body = JSON.stringify({ name: 'signed', channel: 'orders', data: '1' });
        const signed = sdk().createSignedQueryString({ method: 'POST', path: `/apps/${ID}/events`, body });
        await answers(fetch(`http://${place()}/apps/${ID}/events?${signed}`, { method: 'POST', body }), {});
        await heard('orders', 'signed', 1);
    },

    async authorizeChannel() {
        const member = { user_id: 10, user_info: { name: 'Zoë / <b>' } };
        await admitted('private-signed', (socketId) => sdk().authorizeChannel(socketId, 'private-signed'));
        await admitted('presence-signed', (socketId) => sdk().authorizeChannel(socketId, 'presence-signed', member));
        const answer = sdk().authorizeChannel('1234.1234', SEALED);
        assert.equal(answer.shared_secret, sdk().channelSharedSecret(SEALED).toString('base64'));
    },

    async authenticate() {
        await admitted('private-older', (socketId) => sdk().authenticate(socketId, 'private-older'));
    },

    async authenticateUser() {
        // The application that the client asks signs by this call.
        const client = await hall.seat('cyd');
        const data = await within(SOON, 'a sign-in', client.signIn());
        assert.deepEqual(data, { id: '9', user_info: { name: 'Cyd' } });
        const { auth } = sdk().authenticateUser('1234.1234', { id: '12345' });
        assert.match(auth, /^first-key:[0-9a-f]{64}$/);
    },

    channelSharedSecret() {
        const secret = sdk().channelSharedSecret('private-encrypted-x').toString('base64');
        assert.equal(secret, 'QBLmxUha0AEqZM0+A5PNJXDxZBx3jy3Nx0o1EY1y36I=');
    },

    webhook() {
        const webhook = new PusherSdk(VENDOR).webhook(WEBHOOK);
        assert.ok(webhook.isValid());
        assert.deepEqual(webhook.getEvents(), [{ name: 'channel_occupied', channel: 'my-channel' }]);
        assert.equal(webhook.getTime().getTime(), 1327078148132);
        const changed = { ...WEBHOOK, rawBody: WEBHOOK.rawBody.replace('occupied', 'vacated') };
        assert.ok(!new PusherSdk(VENDOR).webhook(changed).isValid());
    },
};

/** By the name of what the SDK itself has beside its methods. */
const STATICS = {
    async forURL() {
        const byUrl = PusherSdk.forURL(`http://${KEY}:${SECRET}@${place()}/apps/${ID}`);
        await answers(byUrl.trigger('orders', 'by-url', 1), {});
        await heard('orders', 'by-url', 1);
    },

    async forCluster() {
        // The name of a cluster becomes the name of a host; here all names lead to the server.
        const agent = new http.Agent({ lookup: (name, options, found) => found(null, [{ address: '127.0.0.1', family: 4 }]) });
        const settings = { appId: ID, key: KEY, secret: SECRET, port: hall.server.port, agent };
        const byCluster = PusherSdk.forCluster('mt1', settings);
        assert.equal(byCluster.config.host, 'api-mt1.pusher.com');
        await answers(byCluster.trigger('orders', 'by-cluster', 1), {});
        await heard('orders', 'by-cluster', 1);
    },

    Token() {
        const token = new PusherSdk.Token(VENDOR.key, VENDOR.secret);
        const signature = WEBHOOK.headers['x-pusher-signature'];
        assert.ok(token.verify(WEBHOOK.rawBody, signature));
        assert.equal(token.sign(WEBHOOK.rawBody), signature);
    },

    async RequestError() {
        await assert.rejects(sdk().get({ path: '/channels/orders/users' }), PusherSdk.RequestError);
    },

    WebHookError() {
        const webhook = new PusherSdk(VENDOR).webhook({ ...WEBHOOK, rawBody: '{' });
        assert.throws(() => webhook.getData(), PusherSdk.WebHookError);
    },
};

for (const [owner, tests, known] of [['method', CALLS, PusherSdk.prototype], ['static', STATICS, PusherSdk]]) {
    for (const [name, body] of Object.entries(tests)) test(`${owner} ${name}`, body);

    test(`every ${owner} of the SDK has a test`, () => {
        assert.deepEqual(Object.keys(known).toSorted(), Object.keys(tests).toSorted());
    });
}
