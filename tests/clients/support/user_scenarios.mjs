// What must be true of users: who is signed in hears the user's own channel, is seen by whoever watches, and is ended
// when the application says so.

import assert from 'node:assert/strict';

import { FORGED } from './back_end.mjs';
import { onStage } from './stage.mjs';
import { SOON, within } from './wait.mjs';

/** A forged channel is not a forged user. */
const FORGED_USERS = FORGED.filter((forgery) => forgery !== 'forged-channel');

/** Declares the tests of one kind of client. `make` gives the source of clients. */
export function userScenarios(kind, make) {
    onStage(kind, make, (stage) => {
        const { connect, heard } = stage;
        /** Nobody of an earlier test is online any more. */
        const isQuiet = async () => {
            const response = await stage.server.sdk().get({ path: '/connections' });
            return (await response.json()).connections === 0;
        };
        const quiet = async () => {
            while (!await isQuiet());
        };
        const fact = (name, body) => stage.fact(name, async () => {
            await within(SOON, 'the end of earlier clients', quiet());
            await body();
        });
        const signIn = async (user) => {
            const [client] = await connect({ backEnd: stage.backEnd.url, user });
            const data = await within(SOON, `the sign-in of ${user}`, client.signIn());
            return [client, data];
        };
        const ended = (client) => within(SOON, 'its end', client.reaches('disconnected'));

        fact('who signs in is told so, with the data of the application', async () => {
            const [, data] = await signIn('ann');
            assert.deepEqual([data.id, data.user_info.name, data.watchlist], ['7', 'Ann', ['8', '9']]);
        });

        fact('an event for a user reaches all its tabs and nobody else', async () => {
            const [first] = await signIn('ann');
            const [second] = await signIn('ann');
            const [bob] = await signIn('bob');
            await stage.server.sdk().sendToUser('7', 'letter', { to: 'Ann' });
            await stage.server.sdk().sendToUser('8', 'letter', { to: 'Bob' });
            for (const [client, to] of [[first, 'Ann'], [second, 'Ann'], [bob, 'Bob']]) {
                const letters = await heard(client, 'user', 'letter');
                assert.deepEqual(letters.map(({ data }) => data), [{ to }]);
            }
        });

        fact('who comes back is signed in again by itself', async () => {
            const [client] = await signIn('bob');
            await within(SOON, 'a new connection', client.reconnect());
            await within(SOON, 'a second sign-in', client.signIns(2));
            await stage.server.sdk().sendToUser('8', 'letter', { n: 2 });
            const [{ data }] = await heard(client, 'user', 'letter');
            assert.deepEqual(data, { n: 2 });
        });

        fact('who watches is told who is there, who comes and who goes', async () => {
            const [ann] = await signIn('ann');
            const [{ data: absent }] = await heard(ann, 'watchlist', 'offline');
            assert.deepEqual(absent, ['8', '9']);
            const [tab] = await signIn('bob');
            const [other] = await signIn('bob');
            await signIn('cyd');
            await heard(ann, 'watchlist', 'online', 2);
            await tab.close();
            await other.close();
            const events = await heard(ann, 'watchlist', 'offline', 2);
            const told = events.map(({ event, data }) => [event, data]);
            const expected = [['offline', ['8', '9']], ['online', ['8']], ['online', ['9']], ['offline', ['8']]];
            assert.deepEqual(told, expected);
        });

        fact('who comes later is told who is there already', async () => {
            await signIn('bob');
            const [ann] = await signIn('ann');
            const events = await heard(ann, 'watchlist', 'offline');
            assert.deepEqual(events.map(({ event, data }) => [event, data]), [['online', ['8']], ['offline', ['9']]]);
        });

        for (const forgery of FORGED_USERS) {
            fact(`a sign-in by ${forgery} is refused and the connection stays`, async () => {
                const [client] = await connect({ backEnd: `${stage.backEnd.url}/${forgery}`, user: 'ann' });
                await client.trySignIn();
                const { message } = await within(SOON, 'the error', client.error(4009));
                assert.match(message, /^Connection is unauthorized: /);
                await within(SOON, 'a pong', client.ping());
                assert.equal(await client.state(), 'connected');
            });
        }

        fact('whom the application ends stays away', async () => {
            const [first] = await signIn('ann');
            const [second] = await signIn('ann');
            const [bob] = await signIn('bob');
            await stage.server.sdk().terminateUserConnections('7');
            for (const client of [first, second]) {
                const { errors, willRetry } = await ended(client);
                assert.deepEqual([errors.at(-1).code, willRetry], [4009, false]);
            }
            await within(SOON, 'a pong', bob.ping());
        });

        fact('a member that has signed in needs no channel_data', async () => {
            const channel = 'presence-signed';
            const [ann] = await connect({ backEnd: `${stage.backEnd.url}/unnamed`, user: 'ann' });
            await within(SOON, 'the sign-in', ann.signIn());
            await within(SOON, 'the channel', ann.join(channel));
            const [{ data: members }] = await heard(ann, channel, 'here');
            assert.deepEqual(members.map(({ name }) => name), ['Ann']);
            assert.equal(await ann.memberId(channel), '7');
        });
    });
}
