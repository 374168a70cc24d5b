// The official SDK for Node: what it is refused, and what else a back end and its operators ask for.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';

import { APPS, Server } from '../support/server.mjs';

let server;
before(async () => {
    server = await Server.start();
});
after(async () => {
    await server?.stop();
});

/** The SDK must be refused with this status, and told why. */
async function refused(request, status, why) {
    await assert.rejects(request, (error) => {
        assert.equal(error.status, status, error.body);
        assert.match(error.body, why);
        return true;
    });
}

test('a wrong secret is refused with 401 and a reason', async () => {
    await refused(server.sdk(APPS[0], { secret: 'wrong' }).trigger('c', 'e', 1), 401, /signature/i);
});

test('a key of another app is refused with 401 and a reason', async () => {
    await refused(server.sdk(APPS[0], { key: APPS[1].key }).trigger('c', 'e', 1), 401, /key/i);
});

test('an unknown app is refused with 404 and its id', async () => {
    await refused(server.sdk(APPS[0], { appId: '999' }).trigger('c', 'e', 1), 404, /999/);
});

test('data past the limit is refused with 413 and the limit', async () => {
    await refused(server.sdk().trigger('c', 'e', 'x'.repeat(200 * 1024)), 413, /\d{4,}|KiB|KB/);
});

test('a body past the limit is refused with 413', async () => {
    await refused(server.sdk().trigger('c', 'e', 'x'.repeat(2 * 1024 * 1024)), 413, /./);
});

test('a batch past the limit is refused', async () => {
    const batch = Array.from({ length: 11 }, (_, i) => ({ channel: 'c', name: 'e', data: i }));
    await refused(server.sdk().triggerBatch(batch), 400, /10/);
});

test('a refusal leaves the server as it was', async () => {
    await assert.rejects(server.sdk(APPS[0], { secret: 'wrong' }).trigger('c', 'e', 1));
    assert.equal((await server.sdk().trigger('c', 'e', 1)).status, 200);
});

test('one kept connection carries a hundred triggers', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const sockets = new Set();
    agent.on('free', (socket) => sockets.add(socket));
    const sdk = server.sdk(APPS[0], { agent });
    for (let i = 0; i < 100; i += 1) assert.deepEqual(await (await sdk.trigger('c', 'e', i)).json(), {});
    assert.equal(sockets.size, 1);
    agent.destroy();
});

test('GET /up says that all is well', async () => {
    const answer = await fetch(`http://127.0.0.1:${server.port}/up`);
    assert.equal(answer.status, 200);
    assert.deepEqual(await answer.json(), { health: 'OK' });
});
