// Clients that live in a page of a real browser. The page comes from a server of its own, so it is another origin than
// the server under test, as in real life.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';

import { fileOf, playwright } from './packages.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** No telemetry, no update checks, no sandbox: tests run as root in containers. */
export const launch = () => playwright().chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

const PAGE = `<!doctype html><title>clients</title>
<script src="/with-encryption.js"></script><script>window.Encrypting = window.Pusher;</script>
<script src="/pusher.js"></script><script src="/echo.js"></script>
<script type="module">
    import { Recorder } from '/recorder.mjs';
    window.recorders = [];
    window.open_recorder = (settings) => {
        const echo = window.Echo?.default ?? window.Echo;
        const pusher = settings.encryption ? window.Encrypting : window.Pusher;
        return window.recorders.push(new Recorder({ Pusher: pusher, Echo: echo, ...settings })) - 1;
    };
</script>`;

const FILES = {
    '/': ['text/html', () => PAGE],
    '/pusher.js': ['text/javascript', () => fs.readFileSync(fileOf('pusher-js/dist/web/pusher.min.js'))],
    '/with-encryption.js': [
        'text/javascript',
        () => fs.readFileSync(fileOf('pusher-js/dist/web/pusher-with-encryption.min.js')),
    ],
    '/echo.js': ['text/javascript', () => fs.readFileSync(fileOf('laravel-echo/dist/echo.iife.js'))],
    '/recorder.mjs': ['text/javascript', () => fs.readFileSync(new URL('recorder.mjs', import.meta.url))],
};

function serve(request, response) {
    const [type, content] = FILES[request.url] ?? [];
    if (!content) return response.writeHead(404).end();
    return response.writeHead(200, { 'Content-Type': type }).end(content());
}

/** Where scenarios get their clients from. */
export class BrowserClients {
    /** The page comes from this host, which is 127.0.0.1 whatever its name. */
    static async launch(host = '127.0.0.1') {
        const clients = new BrowserClients();
        clients.files = http.createServer(serve);
        await new Promise((resolve) => clients.files.listen(0, '127.0.0.1', resolve));
        clients.browser = await launch();
        clients.page = await clients.browser.newPage();
        clients.complaints = [];
        clients.page.on('pageerror', (error) => clients.complaints.push(String(error)));
        await clients.page.goto(`http://${host}:${clients.files.address().port}/`);
        await clients.page.waitForFunction(() => window.open_recorder);
        return clients;
    }

    /** Stands for a Recorder in the page: every call goes there. */
    async open(settings) {
        const index = await this.page.evaluate((given) => window.open_recorder(given), settings);
        const call = (method, values) => this.page.evaluate(
            ([at, name, given]) => window.recorders[at][name](...given),
            [index, method, values],
        );
        const own = { onEvent: (callback) => this.#tell(index, callback) };
        // A promise must not look as if it had a `then` of its own: this object is awaited.
        const forward = (_, method) => own[method] ?? (method === 'then' ? undefined : (...values) => call(method, values));
        return new Proxy({}, { get: forward });
    }

    /** Calls back for each event of a Recorder in the page: functions do not go there by themselves. */
    async #tell(index, callback) {
        const name = `tell_${index}`;
        await this.page.exposeFunction(name, callback);
        await this.page.evaluate(([at, teller]) => window.recorders[at].onEvent(window[teller]), [index, name]);
    }

    /** An exception in the page that nobody caught is a failure, whatever the tests saw. */
    async close() {
        await this.browser?.close();
        await new Promise((resolve) => this.files.close(resolve));
        assert.deepEqual(this.complaints, []);
    }
}
