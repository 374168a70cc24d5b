// What must be true of channels that the application signs for: private, encrypted, and what clients say there to each
// other. As in `scenarios.mjs`, a later event on the same channel shows that an earlier one did not come.

import assert from 'node:assert/strict';

import { FORGED, MASTER_KEYS } from './back_end.mjs';
import { APPS } from './server.mjs';
import { onStage } from './stage.mjs';
import { SOON, within } from './wait.mjs';

/** Declares the tests of one kind of client. `make` gives the source of clients. */
export function privateScenarios(kind, make) {
    onStage(kind, make, (stage) => {
        const { fact, connect, heard } = stage;
        const subscribe = (...channels) => stage.subscribeWith({ backEnd: stage.backEnd.url }, ...channels);
        const encrypting = (...channels) => {
            return stage.subscribeWith({ backEnd: stage.backEnd.url, encryption: true }, ...channels);
        };

        fact('a private channel is joined with the signature of the application', async () => {
            const [client, socketId] = await subscribe('private-orders');
            assert.deepEqual(stage.backEnd.askedFor('private-orders'), [{ name: 'nobody', socketId, channel: 'private-orders' }]);
            await stage.server.sdk().trigger('private-orders', 'shipped', { id: 7 });
            const expected = [{ channel: 'private-orders', event: 'shipped', data: { id: 7 } }];
            assert.deepEqual(await heard(client, 'private-orders', 'shipped'), expected);
        });

        for (const forgery of FORGED) {
            fact(`a ${forgery.replace('-', ' ')} is refused, and nothing is sent of the channel`, async () => {
                const channel = `private-${forgery}`;
                const [client, socketId] = await connect({ backEnd: `${stage.backEnd.url}/${forgery}` });
                const told = await within(SOON, 'the error handler', client.refusal(channel));
                assert.deepEqual(told.map(({ type, status }) => ({ type, status })), [{ type: 'AuthError', status: 401 }]);
                const error = await within(SOON, 'an error of the connection', client.error(4009));
                assert.match(error.message, /unauthorized/);
                assert.equal(await client.state(), 'connected');

                const [witness] = await subscribe(channel);
                await stage.server.sdk().trigger(channel, 'missed', 1);
                await heard(witness, channel, 'missed');
                // By hand, for pusher-js takes a refused channel for one that is still on its way.
                const { auth } = stage.server.sdk().authorizeChannel(socketId, channel);
                await client.say('pusher:subscribe', { auth, channel });
                await within(SOON, 'the right signature', client.confirmations(channel, 1));
                await stage.server.sdk().trigger(channel, 'fence', 2);
                await heard(witness, channel, 'fence');
                await within(SOON, 'the fence', client.receives(channel, 'fence'));
                assert.deepEqual(await client.sent(channel), ['pusher:subscription_error', 'pusher:error', 'fence']);
            });
        }

        fact('a whisper reaches all others, whatever core they are on, and not the sender', async () => {
            const channel = 'private-chat';
            const [sender] = await subscribe(channel);
            const others = [];
            for (let i = 0; i < 6; i += 1) others.push((await subscribe(channel))[0]);
            for (const client of [sender, ...others]) await client.listenForWhisper(channel, 'typing');
            await sender.whisper(channel, 'typing', { name: 'Ann', keys: [1, { ctrl: true }] });
            for (const client of others) {
                const events = await heard(client, channel, 'whisper:typing');
                const whispers = events.filter(({ event }) => event === 'whisper:typing');
                assert.deepEqual(whispers.map(({ data }) => data), [{ name: 'Ann', keys: [1, { ctrl: true }] }]);
            }
            await others[0].whisper(channel, 'typing', { name: 'Bob' });
            await heard(sender, channel, 'whisper:typing');
            assert.deepEqual(await sender.sentData(channel, 'client-typing'), [{ name: 'Bob' }]);
        });

        fact('who is not on a channel cannot whisper there', async () => {
            const channel = 'private-closed';
            const [member] = await subscribe(channel);
            const [stranger] = await connect();
            await stranger.say('client-typing', { name: 'Eve' }, channel);
            const error = await within(SOON, 'a refusal', stranger.error(4009));
            assert.match(error.message, /not a member/);
            await stage.server.sdk().trigger(channel, 'fence', 1);
            await heard(member, channel, 'fence');
            assert.deepEqual(await member.sent(channel), ['fence']);
        });

        fact('an app without client events refuses them with 4301 and keeps the connection', async () => {
            const silent = APPS[2];
            const [client] = await stage.subscribeWith({ key: silent.key }, 'news');
            await client.say('client-typing', {}, 'news');
            await within(SOON, 'a refusal', client.error(4301));
            await stage.server.sdk(silent).trigger('news', 'still', 1);
            await heard(client, 'news', 'still');
        });

        fact('the excluded socket hears nothing of a private channel', async () => {
            const channel = 'private-others';
            const [sender, socketId] = await subscribe(channel);
            const [other] = await subscribe(channel);
            await stage.server.sdk().trigger(channel, 'moved', 1, { socket_id: socketId });
            await stage.server.sdk().trigger(channel, 'fence', 2);
            await heard(sender, channel, 'fence');
            await heard(other, channel, 'fence');
            assert.deepEqual(await sender.sent(channel), ['fence']);
            assert.deepEqual(await other.sent(channel), ['moved', 'fence']);
        });

        fact('after a new connection private channels are signed for again', async () => {
            const channel = 'private-again';
            const [client, before] = await subscribe(channel);
            const now = await within(SOON, 'a second connection', client.reconnect());
            await within(SOON, 'the subscription again', client.confirmations(channel, 2));
            assert.notEqual(now, before);
            assert.deepEqual(stage.backEnd.askedFor(channel).map(({ socketId }) => socketId), [before, now]);
            await stage.server.sdk().trigger(channel, 'back', 1);
            assert.equal((await heard(client, channel, 'back')).length, 1);
        });

        fact('an encrypted channel is read by its members and not by the server', async () => {
            const channel = 'private-encrypted-vault';
            const [client] = await encrypting(channel);
            const [encryptionMasterKeyBase64] = MASTER_KEYS;
            const sdk = stage.server.sdk(APPS[0], { encryptionMasterKeyBase64 });
            await sdk.trigger(channel, 'opened', { by: 'Zoë' });
            await sdk.triggerBatch([{ channel, name: 'closed', data: 'text' }]);
            const events = await heard(client, channel, 'closed');
            assert.deepEqual(events.map(({ event, data }) => [event, data]), [['opened', { by: 'Zoë' }], ['closed', 'text']]);
            const [sent] = await client.sentData(channel, 'opened');
            assert.deepEqual(Object.keys(sent).sort(), ['ciphertext', 'nonce']);
            assert.ok(!JSON.stringify(sent).includes('Zo'));
        });

        fact('after a change of the master key the client asks for the new one and reads on', async () => {
            const channel = 'private-encrypted-changing';
            const [client] = await encrypting(channel);
            const encryptionMasterKeyBase64 = MASTER_KEYS[1];
            stage.backEnd.encryptionMasterKeyBase64 = encryptionMasterKeyBase64;
            try {
                await stage.server.sdk(APPS[0], { encryptionMasterKeyBase64 }).trigger(channel, 'after', { key: 2 });
                const [{ data }] = await heard(client, channel, 'after');
                assert.deepEqual(data, { key: 2 });
                assert.equal(stage.backEnd.askedFor(channel).length, 2);
            } finally {
                [stage.backEnd.encryptionMasterKeyBase64] = MASTER_KEYS;
            }
        });
    });
}
