// What the official SDK for Node asks about members of presence channels.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { answers, seated } from '../support/seats.mjs';

const ROOM = 'presence-room';
/** Ann with two tabs and Cyd with one, all in the room; Ann's first tab on a public channel as well. */
const hall = seated([
    { user: 'ann', channels: [ROOM, 'orders'] },
    { user: 'ann', channels: [ROOM] },
    { user: 'cyd', channels: [ROOM] },
]);

test('channels by prefix, with the number of members', async () => {
    const params = { filter_by_prefix: 'presence-', info: 'user_count' };
    await answers(hall.sdk().get({ path: '/channels', params }), { channels: { [ROOM]: { user_count: 2 } } });
});

test('one presence channel, with the number of members and not of connections', async () => {
    const params = { info: 'user_count' };
    await answers(hall.sdk().get({ path: `/channels/${ROOM}`, params }), { occupied: true, user_count: 2 });
});

test('the users of a presence channel, ids as text', async () => {
    const response = await hall.sdk().get({ path: `/channels/${ROOM}/users` });
    const { users } = await response.json();
    assert.deepEqual(users.map(({ id }) => id).toSorted(), ['7', '9']);
});

test('a trigger tells what is asked of its channels', async () => {
    const info = 'user_count,subscription_count';
    const response = await hall.sdk().trigger([ROOM, 'orders', 'nobody'], 'asked', 1, { info });
    const { channels } = await response.json();
    assert.equal(channels[ROOM].user_count, 2);
    assert.equal(channels.orders.subscription_count, 1);
    assert.ok('nobody' in channels);
});

test('a batch tells what is asked of each event, in order', async () => {
    const batch = [
        { channel: ROOM, name: 'asked', data: 1, info: 'user_count' },
        { channel: 'orders', name: 'not-asked', data: 2 },
    ];
    await answers(hall.sdk().triggerBatch(batch), { batch: [{ user_count: 2 }, {}] });
});
