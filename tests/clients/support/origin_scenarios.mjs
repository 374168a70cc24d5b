// Pages that an app does not allow: refused by a code after which neither client comes back.

import assert from 'node:assert/strict';

import { APPS } from './server.mjs';
import { onStage } from './stage.mjs';
import { SOON, within } from './wait.mjs';

/** It lets in pages of localhost alone. */
const { key } = APPS[3];

/** Declares the tests. `make` gives clients of no page, or of a page of another host. */
export function refusals(kind, make) {
    onStage(kind, make, ({ fact, open, connect }) => {
        fact('a page of another origin is refused with 4009 and stays away', async () => {
            const client = await open({ key });
            const { states, errors, waits, willRetry } = await within(SOON, 'the end', client.reaches('disconnected'));
            assert.deepEqual(errors.at(-1), { code: 4009, message: 'Origin not allowed' });
            // Whoever means to come back waits, or connects again at once.
            assert.deepEqual([willRetry, waits, states.at(-1)], [false, [], 'disconnected']);
            const [other] = await connect({});
            await within(SOON, 'a pong', other.ping());
            assert.equal(await client.state(), 'disconnected');
        });
    });
}

/** Declares the test. `make` gives clients of a page of localhost. */
export function admissions(kind, make) {
    onStage(kind, make, ({ fact, connect }) => {
        fact('a page of an allowed origin connects', async () => {
            const [client] = await connect({ key });
            await within(SOON, 'a pong', client.ping());
        });
    });
}
