// The one door to other people's packages. `cargo verify install` puts them under target/verify/clients, as the
// lockfile beside package.json says; STENTOR_CLIENTS names another folder.

import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const FOLDER = process.env.STENTOR_CLIENTS ?? path.join(ROOT, 'target/verify/clients');
const require = createRequire(pathToFileURL(path.join(FOLDER, 'package.json')));

/** A file of a package. */
export const fileOf = (file) => path.join(FOLDER, 'node_modules', file);
/** A path in the project. */
export const inProject = (file) => path.join(ROOT, file);

export const Pusher = require('pusher-js');
export const PusherSdk = require('pusher');
// Its CommonJS build is not one: the package says that all its files are modules.
export const { default: Echo } = await import(pathToFileURL(fileOf('laravel-echo/dist/echo.js')));
/** Loaded when asked for: it is large. */
export const playwright = () => require('playwright-core');
/** A WebSocket server that does as it is told, and a client that compresses or not, as it is told. */
export const { WebSocket, WebSocketServer } = require('ws');
