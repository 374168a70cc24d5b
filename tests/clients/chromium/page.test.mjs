// The page at `/`, as a person uses it who has just started the server and set nothing.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { BrowserClients, launch } from '../support/browser_clients.mjs';
import { inProject } from '../support/packages.mjs';
import { Server } from '../support/server.mjs';
import { SOON, within } from '../support/wait.mjs';

const SCREENSHOTS = path.join(process.env.STENTOR_ARTEFACTS ?? inProject('artefacts'), 'screenshots');
const DESK = { viewport: { width: 1280, height: 800 }, colorScheme: 'light' };
const PHONE = { viewport: { width: 390, height: 844 }, colorScheme: 'dark', isMobile: true, hasTouch: true };
/** What the server says it is to an application; with nothing set these are well known. */
const DEVELOPMENT = { id: '1', key: 'app-key', secret: 'app-secret' };

describe('the page', { timeout: 120_000 }, () => {
    let server;
    let browser;
    let page;
    let requests;
    let complaints;

    before(async () => {
        server = await Server.startWithDefaults();
        browser = await launch();
        fs.mkdirSync(SCREENSHOTS, { recursive: true });
    });
    after(async () => {
        await browser?.close();
        await server?.stop();
    });

    /** A test with the page open and connected, in which nothing may go wrong in silence. */
    const fact = (name, view, body) => test(name, async () => {
        const context = await browser.newContext(view);
        page = await context.newPage();
        page.setDefaultTimeout(SOON);
        requests = [];
        complaints = [];
        page.on('request', (request) => requests.push(request.url()));
        page.on('pageerror', (error) => complaints.push(String(error)));
        page.on('console', (line) => line.type() === 'error' && complaints.push(line.text()));
        try {
            await page.goto(`http://127.0.0.1:${server.port}/`);
            await page.waitForSelector('#dot[data-state=connected]');
            await within(3 * SOON, name, body());
            assert.deepEqual(complaints, []);
        } finally {
            await context.close();
        }
    });
    const subscribe = async (channel) => {
        await page.fill('#channel', channel);
        await page.click('#subscribe button[type=submit]');
        await page.waitForSelector(`#channels li[data-state=subscribed]:has-text("${channel}")`);
    };
    const publish = async (channel, event, data) => {
        await page.fill('#to', channel);
        await page.fill('#event', event);
        await page.fill('#data', data);
        await page.click('#send');
        await page.waitForSelector('#result[data-state=good]');
    };
    /** The newest event, once it has this name. */
    const newest = async (event) => {
        const first = page.locator('#list li').first();
        await first.locator('.name', { hasText: event }).waitFor();
        return { channel: await first.locator('.channel').innerText(), data: await first.locator('pre').innerText() };
    };

    fact('connects by itself and is on a channel', DESK, async () => {
        assert.match(await page.innerText('#socket'), /^\d+\.\d+$/);
        await page.waitForSelector('#channels li[data-state=subscribed]');
    });

    fact('subscribes, publishes and shows what arrives', DESK, async () => {
        await subscribe('orders');
        await publish('orders', 'shipped', '{"order": 7, "to": "Zürich"}');
        const { channel, data } = await newest('shipped');
        assert.equal(channel, 'orders');
        assert.deepEqual(JSON.parse(data), { order: 7, to: 'Zürich' });
        assert.equal(await page.innerText('#count'), '1');
    });

    fact('joins private and presence channels', DESK, async () => {
        await subscribe('private-orders');
        await publish('private-orders', 'shipped', '{"order": 7}');
        assert.equal((await newest('shipped')).channel, 'private-orders');
        await subscribe('presence-room');
        await page.click('#clear');
        const { users } = await (await server.sdk(DEVELOPMENT).get({ path: '/channels/presence-room/users' })).json();
        assert.deepEqual(users, [{ id: `page ${await page.innerText('#socket')}` }]);
    });

    fact('shows what a back end publishes', DESK, async () => {
        await subscribe('orders');
        await server.sdk(DEVELOPMENT).trigger('orders', 'paid', { by: 'card' });
        assert.deepEqual(JSON.parse((await newest('paid')).data), { by: 'card' });
    });

    fact('does not show what goes to others only', DESK, async () => {
        await subscribe('orders');
        await page.check('#others');
        await publish('orders', 'for-others', '1');
        await page.uncheck('#others');
        await publish('orders', 'for-all', '2');
        await newest('for-all');
        assert.equal(await page.innerText('#count'), '1');
    });

    fact('shows hostile data as text', DESK, async () => {
        const hostile = '<img src=x onerror="document.title = 1"><script>document.title = 2</script>';
        await subscribe('orders');
        await server.sdk(DEVELOPMENT).trigger('orders', hostile, hostile);
        const item = page.locator('#list li').first();
        await item.waitFor();
        assert.equal(await item.locator('.name').innerText(), hostile);
        assert.equal(await item.locator('pre').innerText(), hostile);
        assert.equal(await page.locator('#list img, #list script').count(), 0);
        assert.equal(await page.title(), 'Stentor');
    });

    fact('asks nobody else for anything', DESK, async () => {
        await publish('news', 'greeting', '{}');
        const foreign = requests.filter((url) => !url.startsWith(`http://127.0.0.1:${server.port}/`));
        assert.deepEqual(foreign.filter((url) => !url.startsWith('data:')), []);
    });

    fact('its snippets connect', DESK, async () => {
        const snippets = { echo: await page.textContent('#echo'), pusher: await page.textContent('#pusher') };
        const clients = await BrowserClients.launch();
        try {
            const states = await within(SOON, 'two connections', clients.page.evaluate(async ({ echo, pusher }) => {
                const Echo = window.Echo.default ?? window.Echo;
                const own = { Pusher: window.Pusher };
                new Function('window', 'Echo', echo)(own, Echo);
                const both = [
                    own.Echo.connector.pusher,
                    new Function('Pusher', `${pusher}; return pusher;`)(window.Pusher),
                ];
                return Promise.all(both.map((client) => new Promise((resolve) => {
                    client.connection.bind('connected', () => resolve(client.connection.state));
                })));
            }, snippets));
            assert.deepEqual(states, ['connected', 'connected']);
        } finally {
            await clients.close();
        }
    });

    for (const [name, view] of [['1280x800-light', DESK], ['390x844-dark', PHONE]]) {
        fact(`looks right at ${name}`, view, async () => {
            await subscribe('orders');
            await publish('orders', 'shipped', '{"order": 7, "lines": [{"article": "A-1", "count": 3}]}');
            await publish('news', 'a-very-long-event-name-that-does-not-fit-on-a-phone', `"${'long '.repeat(60)}"`);
            await newest('a-very-long-event-name');
            await page.screenshot({ path: path.join(SCREENSHOTS, `page-${name}.png`), fullPage: true });
            const wide = await page.evaluate(() => document.documentElement.scrollWidth);
            assert.ok(wide <= view.viewport.width, `${wide} pixels wide`);
            const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
            const [red] = /\d+/.exec(dark);
            assert.equal(Number(red) < 128, view.colorScheme === 'dark', dark);
        });
    }

    // The last, for it makes the browser complain of a lost connection.
    test('comes back by itself after a restart', async () => {
        page = await browser.newPage(DESK);
        page.setDefaultTimeout(3 * SOON);
        await page.goto(`http://127.0.0.1:${server.port}/`);
        await page.waitForSelector('#dot[data-state=connected]');
        const before = await page.innerText('#socket');
        await server.restart();
        const came = (old) => {
            const socket = document.getElementById('socket').textContent;
            return socket !== '' && socket !== old;
        };
        await page.waitForFunction(came, before);
        await page.waitForSelector('#channels li[data-state=subscribed]');
        await server.sdk(DEVELOPMENT).trigger('news', 'back', {});
        await newest('back');
        await page.close();
    });
});
