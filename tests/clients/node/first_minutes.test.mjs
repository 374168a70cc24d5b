// What a newcomer does: start the server with nothing set, and paste what it prints into an application.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { NodeClients } from '../support/node_clients.mjs';
import { Server } from '../support/server.mjs';
import { SOON, within } from '../support/wait.mjs';

test('the printed environment leads an application to the server', { timeout: 60_000 }, async () => {
    const server = await Server.startWithDefaults();
    let client;
    try {
        const printed = await server.environment();
        assert.equal(printed.REVERB_HOST, '127.0.0.1');
        assert.equal(printed.REVERB_PORT, String(server.port));
        assert.equal(printed.REVERB_SCHEME, 'http');
        const app = { id: printed.REVERB_APP_ID, key: printed.REVERB_APP_KEY, secret: printed.REVERB_APP_SECRET };
        const settings = { kind: 'laravel-echo', key: app.key, port: Number(printed.REVERB_PORT) };
        client = await new NodeClients().open(settings);
        await within(SOON, 'a subscription', client.connected().then(() => client.subscribe('news')));
        await server.sdk(app).trigger('news', 'greeting', { hello: 'world' });
        const [{ data }] = await within(SOON, 'an event', client.until('news', 'greeting'));
        assert.deepEqual(data, { hello: 'world' });
    } finally {
        client?.close();
        await server.stop();
    }
});
