// Clients that live in this process.

import { Echo, Pusher } from './packages.mjs';
import { Recorder } from './recorder.mjs';

// A socket of pusher-js that is closed twice leaves this timer behind, and nobody clears it. It must not keep the
// process alive for half a minute after the last test.
const LEFT_BEHIND = 30_000;
const { setTimeout: start } = globalThis;
globalThis.setTimeout = (callback, milliseconds, ...values) => {
    const timer = start(callback, milliseconds, ...values);
    return milliseconds === LEFT_BEHIND ? timer.unref() : timer;
};

/** Where scenarios get their clients from. */
export class NodeClients {
    async open(settings) {
        return new Recorder({ Pusher, Echo, ...settings });
    }

    async close() {}
}
