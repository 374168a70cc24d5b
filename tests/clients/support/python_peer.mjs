// What a test in another language needs of us: a server, and two clients that say what they hear.
//
// The arguments are the address of the application that signs for the clients, where webhooks go, which client it is
// (`pusher-js` or `laravel-echo`) and where it lives (`node` or `chromium`). First line out:
// `{"port":…,"apps":[…],"socket_ids":[…]}`. Then it does what it reads, a JSON line each, for both clients:
//
//   {"do":"subscribe","channel":…}   answered by {"done":"subscribe","channel":…}
//   {"do":"sign_in"}                 answered by {"done":"sign_in"}
//   {"do":"await_end"}               answered by {"done":"await_end","codes":[…]}, of errors; none may come back
//   {"do":"unsubscribe","channel":…} and, by the first client alone, {"do":"whisper","channel":…,"event":…,"data":…}
//
// and says each event that a client hears: `{"client":0,"channel":…,"event":…,"data":…}`. It ends when its input ends.

import assert from 'node:assert/strict';
import readline from 'node:readline';

import { BrowserClients } from './browser_clients.mjs';
import { NodeClients } from './node_clients.mjs';
import { APPS, Server } from './server.mjs';
import { SOON, within } from './wait.mjs';

const [backEnd, webhooks, kind, place] = process.argv.slice(2);
const USERS = ['ann', 'bob'];
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const server = await Server.start({ webhooks });
const source = place === 'chromium' ? await BrowserClients.launch() : new NodeClients();
const clients = [];
const socketIds = [];
for (const [index, user] of USERS.entries()) {
    const settings = { kind, key: APPS[0].key, port: server.port, backEnd, user, encryption: true };
    const client = await source.open(settings);
    socketIds.push(await within(SOON, 'a connection', client.connected()));
    await client.onEvent((event) => say({ client: index, ...event }));
    clients.push(client);
}
say({ port: server.port, apps: APPS, socket_ids: socketIds });

const orders = {
    async subscribe({ channel }) {
        for (const client of clients) await within(SOON, `a subscription to ${channel}`, client.subscribe(channel));
    },
    async unsubscribe({ channel }) {
        for (const client of clients) await within(SOON, `the end of ${channel}`, client.unsubscribe(channel));
    },
    whisper({ channel, event, data }) {
        clients[0].whisper(channel, event, data);
    },
    async sign_in() {
        for (const client of clients) await within(SOON, 'a sign-in', client.signIn());
    },
    async await_end() {
        const ends = [];
        for (const client of clients) ends.push(await within(SOON, 'the end', client.reaches('disconnected')));
        assert.ok(ends.every(({ willRetry }) => !willRetry));
        return { codes: ends.map(({ errors }) => errors.at(-1).code) };
    },
};
for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    const answer = await orders[order.do](order);
    say({ done: order.do, ...order, ...answer });
}
for (const client of clients) await client.close();
await source.close();
await server.stop();
