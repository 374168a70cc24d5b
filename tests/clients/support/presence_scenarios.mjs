// What must be true of presence channels: who is told of whom, once for each user, however many tabs they have open.

import assert from 'node:assert/strict';

import { onStage } from './stage.mjs';
import { SOON, within } from './wait.mjs';

/** As the application signs for them. */
const ANN = { name: 'Ann', tag: 'Zürich / <b>' };
const BOB = { name: 'Bob' };
const CYD = { name: 'Cyd' };
const byName = (members) => members.toSorted((one, other) => one.name.localeCompare(other.name));

/** Declares the tests of one kind of client. `make` gives the source of clients. */
export function presenceScenarios(kind, make) {
    onStage(kind, make, (stage) => {
        const { fact, connect, heard } = stage;
        const tab = async (user, channel) => {
            const [client] = await connect({ backEnd: stage.backEnd.url, user });
            await within(SOON, `${user} on ${channel}`, client.join(channel));
            return client;
        };
        const here = async (client, channel) => {
            const [first] = await heard(client, channel, 'here');
            return byName(first.data);
        };
        const told = async (client, channel, event, count = 1) => {
            const events = await heard(client, channel, event, count);
            return events.filter((one) => one.event === event).map(({ data }) => data);
        };

        fact('everybody is told once of a user with several tabs', async () => {
            const channel = 'presence-room';
            const bob = await tab('bob', channel);
            assert.deepEqual(await here(bob, channel), [BOB]);
            const tabs = [];
            for (let i = 0; i < 4; i += 1) {
                tabs.push(await tab('ann', channel));
                assert.deepEqual(await here(tabs[i], channel), [ANN, BOB]);
            }
            const cyd = await tab('cyd', channel);
            assert.deepEqual(await here(cyd, channel), [ANN, BOB, CYD]);
            assert.deepEqual(await told(bob, channel, 'joining', 2), [ANN, CYD]);

            for (const client of tabs) await client.close();
            assert.deepEqual(await told(bob, channel, 'leaving'), [ANN]);
            await cyd.close();
            assert.deepEqual(await told(bob, channel, 'leaving', 2), [ANN, CYD]);
            assert.deepEqual(await here(await tab('bob', channel), channel), [BOB]);
        });

        fact('who leaves the channel is gone though the connection stays', async () => {
            const channel = 'presence-left';
            const bob = await tab('bob', channel);
            const ann = await tab('ann', channel);
            await within(SOON, 'the end of a subscription', ann.unsubscribe(channel));
            assert.deepEqual(await told(bob, channel, 'leaving'), [ANN]);
            assert.equal(await ann.state(), 'connected');
        });

        fact('an id keeps its type', async () => {
            const channel = 'presence-types';
            const bob = await tab('bob', channel);
            await tab('ann', channel);
            await tab('cyd', channel);
            await told(bob, channel, 'joining', 2);
            const added = await bob.sentData(channel, 'pusher_internal:member_added');
            assert.deepEqual(added.map((data) => data.user_id), ['7', 9]);
        });

        fact('a whisper says who whispers, and nobody can say that they are another', async () => {
            const channel = 'presence-chat';
            const bob = await tab('bob', channel);
            const ann = await tab('ann', channel);
            await bob.listenForWhisper(channel, 'typing');
            await ann.whisper(channel, 'typing', { user_id: '8' });
            const events = await heard(bob, channel, 'whisper:typing');
            const { data, userId } = events.find(({ event }) => event === 'whisper:typing');
            assert.deepEqual(data, { user_id: '8' });
            assert.equal(userId, '7');
        });

        fact('who is refused is no member', async () => {
            const channel = 'presence-guarded';
            const bob = await tab('bob', channel);
            const [forger] = await connect({ backEnd: `${stage.backEnd.url}/forged-secret`, user: 'ann' });
            await within(SOON, 'the error handler', forger.refusal(channel));
            const cyd = await tab('cyd', channel);
            assert.deepEqual(await here(cyd, channel), [BOB, CYD]);
            assert.deepEqual(await told(bob, channel, 'joining'), [CYD]);
        });

        fact('a back end reaches all members', async () => {
            const channel = 'presence-news';
            const [ann] = await stage.subscribeWith({ backEnd: stage.backEnd.url, user: 'ann' }, channel);
            await stage.server.sdk().trigger(channel, 'greeting', { to: 'all' });
            const [{ data }] = await heard(ann, channel, 'greeting');
            assert.deepEqual(data, { to: 'all' });
        });
    });
}
