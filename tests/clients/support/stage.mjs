// What every file of scenarios stands on: a server, an application's back end, a source of clients, and tests that close
// what they opened.

import { after, before, describe, test } from 'node:test';

import { BackEnd } from './back_end.mjs';
import { APPS, Server } from './server.mjs';
import { SOON, within } from './wait.mjs';

/**
 * Declares a group of tests. `make` gives the source of clients, `declare` is told the stage and declares the tests;
 * `settings` are the server's.
 */
export function onStage(kind, make, declare, settings = {}) {
    describe(kind, { timeout: 120_000 }, () => {
        const stage = new Stage(kind, settings);
        before(() => stage.set(make));
        after(() => stage.strike());
        declare(stage);
    });
}

/** One server, one back end and one source of clients, for all tests of a group. They are there once its tests run. */
class Stage {
    constructor(kind, settings) {
        this.kind = kind;
        this.settings = settings;
        this.opened = [];
    }

    async set(make) {
        this.server = await Server.start(this.settings);
        this.backEnd = await BackEnd.start();
        this.source = await make();
    }

    async strike() {
        await this.source?.close();
        await this.backEnd?.stop();
        await this.server?.stop();
    }

    /** A test with clients that are closed after it. */
    fact = (name, body) => test(name, async () => {
        try {
            await within(3 * SOON, name, body());
        } finally {
            for (const client of this.opened.splice(0)) await client.close();
        }
    });

    open = async (settings = {}) => {
        const common = { kind: this.kind, key: APPS[0].key, port: this.server.port };
        const client = await this.source.open({ ...common, ...settings });
        this.opened.push(client);
        return client;
    };

    /** A client that is connected, and its socket id. */
    connect = async (settings) => {
        const client = await this.open(settings);
        return [client, await within(SOON, 'a connection', client.connected())];
    };

    /** A client on all these channels, and its socket id. */
    subscribe = (...channels) => this.subscribeWith({}, ...channels);

    subscribeWith = async (settings, ...channels) => {
        const [client, socketId] = await this.connect(settings);
        for (const channel of channels) {
            await within(SOON, `a subscription to ${channel}`, client.subscribe(channel));
        }
        return [client, socketId];
    };

    /** All events of a channel, once the client has heard the last of them. */
    heard = (client, channel, event, count) => within(
        SOON,
        `${event} on ${channel}`,
        client.until(channel, event, count),
    );
}
