<?php

// Laravel Reverb for `cargo bench --bench compare`: `php server.php PORT`.
//
// The smallest Laravel application that `reverb:start` runs in, with the app of the load generator. Binds loopback alone.
// With the extension uv it uses libuv, without it select(), which ends at 1,024 connections.

use Illuminate\Foundation\Application;
use Symfony\Component\Console\Input\ArgvInput;

require __DIR__ . '/vendor/autoload.php';

foreach (['bootstrap/cache', 'config', 'storage/framework/views', 'storage/logs'] as $folder) {
    if (!is_dir(__DIR__ . '/' . $folder)) {
        mkdir(__DIR__ . '/' . $folder, 0777, true);
    }
}
$settings = [
    'APP_ENV' => 'production',
    'CACHE_STORE' => 'array',
    'LOG_CHANNEL' => 'stderr',
    'REVERB_APP_ID' => '1',
    'REVERB_APP_KEY' => 'app-key',
    'REVERB_APP_SECRET' => 'app-secret',
];
foreach ($settings as $name => $value) {
    $_ENV[$name] = $_SERVER[$name] = $value;
}

$application = Application::configure(basePath: __DIR__)
    ->withMiddleware(fn () => null)
    ->withExceptions(fn () => null)
    ->create();
$words = ['artisan', 'reverb:start', '--host=127.0.0.1', '--port=' . (int) $argv[1]];
exit($application->handleCommand(new ArgvInput($words)));
