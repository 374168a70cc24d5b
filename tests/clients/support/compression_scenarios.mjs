// What must be true of compressed messages: clients that offer permessage-deflate get it, the others do not, and all hear
// the same. Each client stands behind a relay, which sees what goes over the wire.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';

import { Relay } from './relay.mjs';
import { onStage } from './stage.mjs';
import { WS_KINDS, WsClient } from './ws_client.mjs';

const CHANNEL = 'compressed';
const EVENT = 'step';
const AGREED = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';

/** `limits.compression_threshold`, as it is by default. */
const THRESHOLD = 1024;
const ENVELOPE = Buffer.byteLength(JSON.stringify({ event: EVENT, channel: CHANNEL, data: '' }));

/** Text that is not JSON, of so many bytes. */
const text = (bytes) => 'an order is paid, shipped; and so on. '.repeat(bytes / 38 + 1).slice(0, bytes);

/** The data of events, each with the share of the message's bytes that a compressing client gets at most. */
const DATA = [
    { data: text(10), share: 1 },
    { data: text(THRESHOLD - 1 - ENVELOPE), share: 1 },
    { data: text(THRESHOLD - ENVELOPE), share: 0.2 },
    { data: text(THRESHOLD + 1 - ENVELOPE), share: 0.2 },
    { data: 'Grüße, 你好, שלום, 👩‍👩‍👧‍👦, e\u0301. '.repeat(40), share: 0.2 },
    { data: text(100 * 1024), share: 0.05 },
    // Six bits in each byte: there is little to gain, and that much is.
    { data: randomBytes(75 * 1024).toString('base64'), share: 0.8 },
    { data: text(11), share: 1 },
];

/** The bytes of an unmasked frame. */
function frameBytes(message) {
    const header = message < 126 ? 2 : message < 65536 ? 4 : 10;
    return header + message;
}

/** A source of clients that has those over `ws` besides. */
function withWs(make) {
    return async () => {
        const others = await make();
        return {
            open: async (settings) => (WS_KINDS.includes(settings.kind) ? new WsClient(settings) : others.open(settings)),
            close: () => others.close(),
        };
    };
}

/** Declares the tests. Clients of the kinds `compressing` offer compression, those of the kinds `plain` do not. */
export function compressionScenarios({ compressing, plain }, make) {
    const kinds = [...compressing, ...plain];

    /** One subscriber of each kind, and its relay. */
    const subscribers = async (stage) => {
        const all = [];
        for (const kind of kinds) {
            const relay = await Relay.start(stage.server.port);
            stage.opened.push({ close: () => relay.stop() });
            const [client] = await stage.subscribeWith({ kind, port: relay.port }, CHANNEL);
            all.push({ kind, client, relay, isCompressing: compressing.includes(kind) });
        }
        return all;
    };

    onStage('compression', withWs(make), (stage) => {
        stage.fact('is agreed with those who offer it', async () => {
            for (const { kind, relay, isCompressing } of await subscribers(stage)) {
                assert.equal(relay.offered.startsWith('permessage-deflate'), isCompressing, `${kind} offers ${relay.offered}`);
                assert.equal(relay.agreed, isCompressing ? AGREED : '', kind);
            }
        });

        stage.fact('begins at the threshold, and all events arrive whole and in order', async () => {
            const all = await subscribers(stage);
            const expected = [];
            for (const { data, share } of DATA) {
                const before = all.map(({ relay }) => relay.received);
                await stage.server.sdk().trigger(CHANNEL, EVENT, data);
                expected.push(data);
                const plainBytes = frameBytes(ENVELOPE + Buffer.byteLength(data));
                for (const [index, { kind, client, relay, isCompressing }] of all.entries()) {
                    const heard = await stage.heard(client, CHANNEL, EVENT, expected.length);
                    assert.deepEqual(heard.map((event) => event.data), expected, kind);
                    const bytes = relay.received - before[index];
                    const what = `${kind} got ${bytes} bytes for ${plainBytes}`;
                    if (isCompressing && share < 1) assert.ok(bytes < share * plainBytes, what);
                    else assert.equal(bytes, plainBytes, what);
                }
            }
        });

        stage.fact('changes no order, whoever hears', async () => {
            const all = await subscribers(stage);
            const published = Array.from({ length: 60 }, (_, n) => `${n}: ${text(n % 3 ? 20 : 5_000)}`);
            const sdk = stage.server.sdk();
            await Promise.all(published.map((data) => sdk.trigger(CHANNEL, EVENT, data)));
            const orders = [];
            for (const { client } of all) {
                const heard = await stage.heard(client, CHANNEL, EVENT, published.length);
                orders.push(heard.map(({ data }) => data));
            }
            assert.deepEqual([...orders[0]].sort(), [...published].sort());
            for (const order of orders) assert.deepEqual(order, orders[0]);
        });
    });

    onStage('compression switched off', withWs(make), (stage) => {
        stage.fact('is agreed with nobody', async () => {
            const all = await subscribers(stage);
            const data = text(5_000);
            const before = all.map(({ relay }) => relay.received);
            await stage.server.sdk().trigger(CHANNEL, EVENT, data);
            for (const [index, { kind, client, relay }] of all.entries()) {
                assert.equal(relay.agreed, '', kind);
                const [event] = await stage.heard(client, CHANNEL, EVENT);
                assert.equal(event.data, data, kind);
                assert.equal(relay.received - before[index], frameBytes(ENVELOPE + data.length), kind);
            }
        });
    }, { set: ['limits.compression=off'] });
}
