// A stentor of our own: its settings, its start, its end.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { inProject, PusherSdk } from './packages.mjs';
import { Program } from './program.mjs';

const BINARY = process.env.STENTOR_BIN ?? inProject('target/release/stentor');

/** Ids are digits because the Python SDK insists on it. */
export const APPS = [
    { id: '101', key: 'first-key', secret: 'first-secret' },
    { id: '202', key: 'second-key', secret: 'second-secret' },
    { id: '303', key: 'silent-key', secret: 'silent-secret' },
    { id: '404', key: 'local-key', secret: 'local-secret' },
];
/** What an app has set besides; the others leave all as it is. */
const SET = { 303: 'client_events = false', 404: 'allowed_origins = ["localhost"]' };

/** With `webhooks`, an address, the first app's webhooks go there, departures at once; subscribers are counted, too. */
const settings = (webhooks) => `
[server]
host = "127.0.0.1"
cores = 4
${webhooks ? '[webhooks]\ngrace = 0' : ''}
${APPS.map(({ id, key, secret }) => `
[[apps]]
id = "${id}"
key = "${key}"
secret = "${secret}"
${SET[id] ?? ''}
${webhooks && id === APPS[0].id ? `subscription_count = true\n[[apps.webhooks]]\nurl = "${webhooks}"` : ''}`).join('')}
`;

/** A running server. It ends when `stop` is called, and with this process at the latest. */
export class Server {
    /** With the apps above, on four cores, on a free port; `set` are settings as `--set` takes them. */
    static async start({ webhooks, set = [] } = {}) {
        const server = Server.#inFolder();
        const file = path.join(server.folder, 'stentor.toml');
        fs.writeFileSync(file, settings(webhooks));
        server.arguments = ['--config', file, ...set.flatMap((setting) => ['--set', setting])];
        await server.#run(0);
        return server;
    }

    /** As it is with nothing set, but for the port. */
    static async startWithDefaults() {
        const server = Server.#inFolder();
        server.arguments = [];
        await server.#run(0);
        return server;
    }

    /** In a folder of its own, so that no settings file of this machine has a say. */
    static #inFolder() {
        const server = new Server();
        server.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'stentor-clients-'));
        return server;
    }

    async #run(port) {
        this.program = new Program(BINARY, [...this.arguments, '--port', String(port)], this.folder);
        this.port = await this.program.port();
    }

    /** Asks it politely; it must end by itself, in time, and with success. */
    async terminate() {
        assert.deepEqual(await this.program.terminate(), { code: 0, signal: null }, this.program.output);
        assert.doesNotMatch(this.program.output, /panicked/);
    }

    async stop() {
        await this.terminate();
        fs.rmSync(this.folder, { recursive: true });
    }

    /** Ends it and starts it again on the same port. */
    async restart() {
        await this.terminate();
        await this.#run(this.port);
    }

    /** The lines that it prints for a Laravel application's `.env`. */
    async environment() {
        await this.program.says(/^\s*REVERB_SCHEME=.*$/m);
        const lines = [...this.program.output.matchAll(/^\s*(REVERB_[A-Z_]+)=(.*)$/gm)];
        return Object.fromEntries(lines.map(([, name, value]) => [name, value]));
    }

    /** The official SDK, as a back end of one of the apps uses it. */
    sdk(app = APPS[0], changes = {}) {
        const { id: appId, key, secret } = app;
        return new PusherSdk({ appId, key, secret, host: '127.0.0.1', port: this.port, ...changes });
    }
}
