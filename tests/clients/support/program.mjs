// A program of this project that runs beside the tests: what it prints, where it listens, its end.

import { spawn } from 'node:child_process';
import process from 'node:process';

import { SOON, within } from './wait.mjs';

export class Program {
    /** Starts it in that folder. It ends when `terminate` is called, and with this process at the latest. */
    constructor(file, words, folder) {
        this.file = file;
        this.output = '';
        this.child = spawn(file, words, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
        this.killer = () => this.child.kill('SIGKILL');
        process.on('exit', this.killer);
        this.ended = new Promise((resolve) => this.child.on('close', (code, signal) => resolve({ code, signal })));
        const note = (bytes) => {
            this.output += bytes;
        };
        this.child.stdout.on('data', note);
        this.child.stderr.on('data', note);
    }

    /** Waits until it has printed something like this. */
    says(pattern) {
        return within(SOON, `${this.file} to print ${pattern}`, new Promise((resolve, reject) => {
            const look = () => {
                const match = pattern.exec(this.output);
                if (match) resolve(match);
            };
            this.child.stdout.on('data', look);
            this.child.stderr.on('data', look);
            this.child.on('error', reject);
            this.ended.then(({ code }) => reject(new Error(`${this.file} ended with ${code}:\n${this.output}`)));
            look();
        }));
    }

    /** Where it listens, once it says so. */
    async port() {
        const [, port] = await this.says(/\/\/127\.0\.0\.1:(\d+)/);
        return Number(port);
    }

    /** Sends SIGTERM and tells how it ended, which must be soon. */
    async terminate() {
        this.child.kill('SIGTERM');
        const end = await within(SOON, `${this.file} to end after SIGTERM`, this.ended);
        process.off('exit', this.killer);
        return end;
    }
}
