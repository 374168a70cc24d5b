// What must be true of cache channels: who comes late hears the last event at once, or is told that there is none.

import assert from 'node:assert/strict';

import { MASTER_KEYS } from './back_end.mjs';
import { APPS } from './server.mjs';
import { onStage } from './stage.mjs';
import { SOON, within } from './wait.mjs';

const PREFIXES = ['cache-', 'private-cache-', 'presence-cache-', 'private-encrypted-cache-'];
const MISS = 'pusher:cache_miss';

/** Declares the tests of one kind of client. `make` gives the source of clients. */
export function cacheScenarios(kind, make) {
    onStage(kind, make, (stage) => {
        const { fact, heard } = stage;
        const join = async (channel) => {
            const settings = { backEnd: stage.backEnd.url, encryption: true, user: 'ann' };
            return (await stage.subscribeWith(settings, channel))[0];
        };
        const trigger = (channel, event, data) => {
            const [encryptionMasterKeyBase64] = MASTER_KEYS;
            return stage.server.sdk(APPS[0], { encryptionMasterKeyBase64 }).trigger(channel, event, data);
        };

        for (const prefix of PREFIXES) {
            fact(`${prefix}: who comes late hears the last event`, async () => {
                const channel = `${prefix}late`;
                await trigger(channel, 'first', { n: 1 });
                await trigger(channel, 'last', { n: 2 });
                const client = await join(channel);
                assert.deepEqual(await heard(client, channel, 'last'), [{ channel, event: 'last', data: { n: 2 } }]);
                await trigger(channel, 'live', { n: 3 });
                const events = await heard(client, channel, 'live');
                assert.deepEqual(events.map(({ event }) => event), ['last', 'live']);
            });

            fact(`${prefix}: where nothing was said the client is told so`, async () => {
                const channel = `${prefix}empty`;
                const client = await join(channel);
                await within(SOON, 'a cache miss', client.receives(channel, MISS));
                await trigger(channel, 'live', {});
                await heard(client, channel, 'live');
                assert.deepEqual(await client.sent(channel), [MISS, 'live']);
            });
        }

        fact('what clients say to each other is not kept', async () => {
            const channel = 'private-cache-talk';
            const ann = await join(channel);
            const bob = await join(channel);
            await bob.listenForWhisper(channel, 'typing');
            await ann.whisper(channel, 'typing', {});
            await heard(bob, channel, 'whisper:typing');
            const late = await join(channel);
            await within(SOON, 'a cache miss', late.receives(channel, MISS));
            assert.deepEqual(await late.sent(channel), [MISS]);
        });

        fact('a channel that is left empty keeps its event', async () => {
            const channel = 'cache-left';
            const first = await join(channel);
            await trigger(channel, 'kept', {});
            await heard(first, channel, 'kept');
            await within(SOON, 'the end of a subscription', first.unsubscribe(channel));
            assert.equal((await heard(await join(channel), channel, 'kept')).length, 1);
        });
    });
}
