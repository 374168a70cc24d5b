// `examples/chat`, as two people use it who have opened its page.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { launch } from '../support/browser_clients.mjs';
import { inProject } from '../support/packages.mjs';
import { Program } from '../support/program.mjs';
import { SOON } from '../support/wait.mjs';

const CHAT = process.env.STENTOR_CHAT ?? inProject('target/release/examples/chat');

describe('the chat', { timeout: 120_000 }, () => {
    let chat;
    let port;
    let browser;
    let tabs;

    before(async () => {
        chat = new Program(CHAT, ['--port', '0']);
        port = await chat.port();
        browser = await launch();
    });
    after(async () => {
        await browser?.close();
        assert.equal((await chat?.terminate())?.signal, 'SIGTERM', 'it had not ended by itself');
        assert.doesNotMatch(chat.output, /panicked/);
    });
    beforeEach(async () => {
        const context = await browser.newContext();
        tabs = [await context.newPage(), await context.newPage()];
        for (const tab of tabs) {
            tab.setDefaultTimeout(SOON);
            await tab.goto(`http://127.0.0.1:${port}/`);
            await heard(tab, 'Welcome to the room.');
        }
    });

    /** Waits until this is the newest line of the tab. */
    const heard = (tab, line) => tab.locator('#heard li').first().and(tab.getByText(line, { exact: true })).waitFor();
    const say = async (tab, line) => {
        await tab.fill('#say', line);
        await tab.press('#say', 'Enter');
    };
    const lines = (tab) => tab.locator('#heard li').allInnerTexts();

    test('each of two tabs hears the other, and itself', async () => {
        const [one, other] = tabs;
        await say(one, 'Is anybody there?');
        for (const tab of tabs) await heard(tab, 'Is anybody there?');
        await say(other, 'Zürich is <b>here</b>.');
        for (const tab of tabs) await heard(tab, 'Zürich is <b>here</b>.');
        for (const tab of tabs) {
            assert.deepEqual(await lines(tab), ['Zürich is <b>here</b>.', 'Is anybody there?', 'Welcome to the room.']);
        }
        assert.equal(await one.inputValue('#say'), '', 'the field is free for the next line');
    });

    test('a line that is too long is refused to who said it alone', async () => {
        const [one, other] = tabs;
        await say(one, 'x'.repeat(1001));
        await heard(one, 'A line is text of at most 1000 bytes.');
        await say(one, 'x'.repeat(1000));
        await heard(other, 'x'.repeat(1000));
        assert.deepEqual(await lines(other), ['x'.repeat(1000), 'Welcome to the room.']);
    });
});
