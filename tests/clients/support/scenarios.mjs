// What must be true for every client, wherever it lives. A test file says which client: `scenarios('pusher-js', …)`.
//
// That something does *not* arrive is never shown by waiting. A channel has one order for all its subscribers, so a
// later event on the same channel proves that what was meant to come before it did not.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { APPS, Server } from './server.mjs';
import { onStage } from './stage.mjs';
import { SOON, within } from './wait.mjs';

/** What applications put into `data`: each must come out as it went in. */
const SHAPES = {
    text: 'plain text',
    object: { id: 7, nested: { list: [1, 2.5, -3e10], yes: true, nothing: null } },
    array: [[], {}, '', 0],
    unicode: 'Grüße, 你好, שלום, 👩‍👩‍👧‍👦, e\u0301',
    escapes: { quote: '"', backslash: '\\', solidus: '</script>', control: '\u0000\u001f\u007f', lines: '\r\n\t\u2028\u2029' },
    lone: '{"not": "closed"',
    long: { text: 'x'.repeat(9000) },
};

/** Declares the tests of one kind of client. `make` gives the source of clients. */
export function scenarios(kind, make) {
    onStage(kind, make, (stage) => {
        const { fact, open, connect, subscribe, heard } = stage;

        fact('connects and gets a socket id', async () => {
            const [, socketId] = await connect();
            assert.match(socketId, /^\d+\.\d+$/);
        });

        fact('hears what a back end triggers', async () => {
            const [client] = await subscribe('orders');
            const answer = await stage.server.sdk().trigger('orders', 'shipped', { id: 7 });
            assert.equal(answer.status, 200);
            assert.deepEqual(await answer.json(), {});
            const expected = [{ channel: 'orders', event: 'shipped', data: { id: 7 } }];
            assert.deepEqual(await heard(client, 'orders', 'shipped'), expected);
        });

        fact('data arrives as it was sent', async () => {
            const [client] = await subscribe('shapes');
            for (const [event, data] of Object.entries(SHAPES)) await stage.server.sdk().trigger('shapes', event, data);
            const events = await heard(client, 'shapes', 'long');
            assert.deepEqual(Object.fromEntries(events.map(({ event, data }) => [event, data])), SHAPES);
            assert.equal(events.length, Object.keys(SHAPES).length);
        });

        fact('every subscriber hears, whatever core it is on', async () => {
            const clients = [];
            for (let i = 0; i < 12; i += 1) clients.push((await subscribe('everybody'))[0]);
            await stage.server.sdk().trigger('everybody', 'hello', 'all');
            for (const client of clients) {
                const [{ data }, ...more] = await heard(client, 'everybody', 'hello');
                assert.equal(data, 'all');
                assert.deepEqual(more, []);
            }
        });

        fact('one trigger reaches several channels', async () => {
            const [client] = await subscribe('a', 'b', 'c');
            await stage.server.sdk().trigger(['a', 'b', 'c', 'nobody'], 'several', { n: 1 });
            for (const channel of ['a', 'b', 'c']) assert.equal((await heard(client, channel, 'several')).length, 1);
        });

        fact('a batch arrives whole and in order', async () => {
            const [client] = await subscribe('batch');
            const batch = Array.from({ length: 10 }, (_, i) => ({ channel: 'batch', name: `event-${i}`, data: { i } }));
            await stage.server.sdk().triggerBatch(batch);
            const events = await heard(client, 'batch', 'event-9');
            assert.deepEqual(events.map(({ data }) => data.i), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        });

        fact('two hundred events arrive in the order of publishing', async () => {
            const [client] = await subscribe('order');
            const sdk = stage.server.sdk();
            for (let i = 0; i < 200; i += 1) await sdk.trigger('order', 'step', i);
            const events = await heard(client, 'order', 'step', 200);
            assert.deepEqual(events.map(({ data }) => data), Array.from({ length: 200 }, (_, i) => i));
        });

        fact('one connection may be on many channels', async () => {
            const channels = Array.from({ length: 100 }, (_, i) => `many-${i}`);
            const [client] = await subscribe(...channels);
            await stage.server.sdk().trigger(channels, 'hello', 'many');
            for (const channel of channels) assert.equal((await heard(client, channel, 'hello')).length, 1);
        });

        fact('the excluded socket hears nothing, the others do', async () => {
            const [sender, socketId] = await subscribe('others');
            const [other] = await subscribe('others');
            await stage.server.sdk().trigger('others', 'moved', 1, { socket_id: socketId });
            await stage.server.sdk().trigger('others', 'fence', 2);
            await heard(sender, 'others', 'fence');
            assert.deepEqual(await sender.sent('others'), ['fence']);
            await heard(other, 'others', 'fence');
            assert.deepEqual(await other.sent('others'), ['moved', 'fence']);
        });

        fact('after unsubscribing nothing more is sent', async () => {
            const [leaver] = await subscribe('left');
            const [witness] = await subscribe('left');
            await within(SOON, 'the end of a subscription', leaver.unsubscribe('left'));
            await stage.server.sdk().trigger('left', 'missed', 1);
            await heard(witness, 'left', 'missed');
            await within(SOON, 'a second subscription', leaver.subscribe('left'));
            await stage.server.sdk().trigger('left', 'fence', 2);
            await heard(leaver, 'left', 'fence');
            assert.deepEqual(await leaver.sent('left'), ['fence']);
        });

        fact('apps do not hear each other', async () => {
            const [first] = await subscribe('shared');
            const [second] = await connect({ key: APPS[1].key });
            await within(SOON, 'a subscription', second.subscribe('shared'));
            await stage.server.sdk(APPS[1]).trigger('shared', 'of-second', 1);
            await heard(second, 'shared', 'of-second');
            await stage.server.sdk(APPS[0]).trigger('shared', 'of-first', 1);
            await heard(first, 'shared', 'of-first');
            await stage.server.sdk(APPS[1]).trigger('shared', 'fence', 1);
            await heard(second, 'shared', 'fence');
            assert.deepEqual(await first.sent('shared'), ['of-first']);
            assert.deepEqual(await second.sent('shared'), ['of-second', 'fence']);
        });

        fact('an unknown key is refused with 4001, for good', async () => {
            const client = await open({ key: 'no-such-key' });
            const end = await within(SOON, 'a refusal', client.reaches('disconnected'));
            assert.equal(end.errors[0]?.code, 4001);
            assert.match(end.errors[0].message, /no-such-key/);
            // It began to connect before anybody could listen; a second `connecting` would be a retry.
            assert.deepEqual(end.states, ['disconnected']);
            assert.equal(end.willRetry, false);
        });

        fact('a silent connection stays alive by pings', async () => {
            const [client] = await connect({ options: { activityTimeout: 500, pongTimeout: 5000 } });
            assert.equal(await within(SOON, 'three pongs', client.answersToPings(3)), 'connected');
        });

        if (kind === 'laravel-echo') {
            fact('hears an event by its class', async () => {
                const [client] = await subscribe('orders');
                await client.listen('orders', 'OrderShipped');
                await stage.server.sdk().trigger('orders', 'App\\Events\\OrderShipped', { order: 3 });
                const events = await heard(client, 'orders', 'listen:OrderShipped');
                const own = events.filter(({ event }) => event === 'listen:OrderShipped');
                assert.deepEqual(own, [{ channel: 'orders', event: 'listen:OrderShipped', data: { order: 3 } }]);
            });
        }
    });
}

/** The server goes and comes back on the same port; the clients come back by themselves and hear again. */
export function reconnects(make) {
    // pusher-js waits 15 s after an attempt that was refused, and 30 s after the second; it says so after 10 s.
    const PATIENCE = 60_000;
    const TABS = 20;
    test('clients come back by themselves after a restart, and none is kept waiting', { timeout: 2 * PATIENCE }, async () => {
        const server = await Server.start();
        const source = await make();
        const clients = [];
        try {
            for (const kind of Array(TABS).fill(['pusher-js', 'laravel-echo']).flat()) {
                const client = await source.open({ kind, key: APPS[0].key, port: server.port });
                clients.push(client);
                await within(SOON, 'a connection', client.connected());
                await within(SOON, 'a subscription', client.subscribe('news'));
            }
            await server.restart();
            for (const client of clients) {
                await within(PATIENCE, 'the subscription again', client.confirmations('news', 2));
            }
            await server.sdk().trigger('news', 'back', { again: true });
            for (const client of clients) {
                const [{ data }] = await within(SOON, 'an event', client.until('news', 'back'));
                assert.deepEqual(data, { again: true });
                const { states } = await client.reaches('connected');
                assert.ok(!states.includes('unavailable'), states.join());
            }
        } finally {
            for (const client of clients) await client.close();
            await source.close();
            await server.stop();
        }
    });
}
