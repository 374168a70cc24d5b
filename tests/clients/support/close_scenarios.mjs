// What pusher-js does after each way in which a server may end a connection: whether it comes back, and when. Our own
// server relies on every row. No test here touches our server: it is pusher-js that is under test.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { ScriptedServer } from './scripted_server.mjs';
import { SOON, within } from './wait.mjs';

const GONE = 'never comes back';
const AT_ONCE = 'comes back at once';
const LATER = 'comes back after a second';

/** By close code, after a greeting. */
const CLOSED = {
    4001: GONE, 4003: GONE, 4004: GONE, 4005: GONE, 4006: GONE, 4007: GONE, 4008: GONE, 4009: GONE, 4099: GONE,
    4100: LATER, 4199: LATER,
    4200: AT_ONCE, 4201: AT_ONCE, 4202: AT_ONCE, 4299: AT_ONCE,
    4300: GONE, 4301: GONE, 4302: GONE, 4303: GONE, 4999: GONE,
    1000: LATER, 1001: LATER, 1002: LATER, 1003: LATER, 1007: LATER, 1008: LATER, 1009: LATER, 1011: LATER,
    1012: LATER, 1013: LATER, 3000: LATER, none: LATER,
};
/** By the code of an error that comes in place of the greeting. */
const REFUSED = { 4001: GONE, 4004: GONE, 4009: GONE, 4100: LATER, 4200: AT_ONCE, 4201: AT_ONCE, 4301: GONE };
/** By the code of an error that comes alone. */
const COMPLAINTS = [4000, 4001, 4004, 4009, 4100, 4200, 4201, 4301, 4302];
/** pusher-js waits 1000 ms or not at all; its clock and ours may differ by a few. */
const A_SECOND = 950;

/** Declares the tests. `make` gives the source of clients. */
export function closeScenarios(make) {
    describe('pusher-js and close codes', { timeout: 60_000 }, () => {
        let server;
        let source;
        const clients = new Map();
        const rows = [
            ...Object.entries(CLOSED).map(([code, then]) => [`close-${code}`, then]),
            ...Object.entries(REFUSED).map(([code, then]) => [`refuse-${code}`, then]),
            ['drop', LATER],
        ];

        /** All clients live at the same time, so that the seconds that some wait are one second. */
        before(async () => {
            server = await ScriptedServer.start();
            source = await make();
            for (const [key] of rows) {
                clients.set(key, await source.open({ kind: 'pusher-js', key, port: server.port }));
            }
            for (const [key] of rows.filter(([name]) => !name.startsWith('refuse-'))) {
                await within(SOON, `a connection of ${key}`, clients.get(key).connected());
            }
            for (const [key] of rows.filter(([name]) => !name.startsWith('refuse-'))) {
                await clients.get(key).say('client-end', {});
            }
        });
        after(async () => {
            for (const client of clients.values()) await client.close();
            await source?.close();
            await server?.stop();
        });

        for (const [key, then] of rows.filter(([, what]) => what !== GONE)) {
            test(`${key}: ${then}`, async () => {
                const milliseconds = await server.returns(key);
                const { waits, willRetry } = await within(SOON, 'connected again', clients.get(key).reaches('connected'));
                // What it chose to wait: how soon a busy machine then lets it come says nothing of it.
                assert.equal(Math.min(...waits), then === LATER ? 1000 : 0);
                if (then === LATER) assert.ok(milliseconds >= A_SECOND, `it came back after ${milliseconds} ms`);
                assert.equal(willRetry, false);
            });
        }

        // After those that wait have come back: whoever has not come by now was not waiting for the same second.
        for (const [key, then] of rows.filter(([, what]) => what === GONE)) {
            test(`${key}: ${then}`, async () => {
                const end = await within(SOON, 'its end', clients.get(key).reaches('disconnected'));
                assert.equal(end.willRetry, false);
                assert.equal(end.errors[0].code, Number(key.split('-')[1]));
                assert.equal(server.of(key).length, 1);
            });
        }

        test('close-4000: turns to TLS for good', async () => {
            const options = { enabledTransports: ['ws', 'wss'], wssPort: server.securePort };
            const client = await source.open({ kind: 'pusher-js', key: 'close-4000', port: server.port, options });
            clients.set('close-4000', client);
            await within(SOON, 'a connection', client.connected());
            await client.say('client-end', {});
            const [hello] = await server.comes('tls');
            assert.equal(hello, true);
            assert.equal(server.of('close-4000').length, 1);
        });

        for (const code of COMPLAINTS) {
            test(`error-${code}: an error alone changes nothing`, async () => {
                const client = await source.open({ kind: 'pusher-js', key: `error-${code}`, port: server.port });
                clients.set(`error-${code}`, client);
                await within(SOON, 'the error', client.error(code));
                await within(SOON, 'a pong', client.ping());
                assert.equal(await client.state(), 'connected');
                assert.equal(server.of(`error-${code}`).length, 1);
            });
        }
    });
}
