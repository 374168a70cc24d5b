// Waiting with a deadline: for an event, never for a time.

/** Long enough for a busy machine, short enough to notice. */
export const SOON = 10_000;

/** The promise's value, or an error that says what was waited for. */
export function within(milliseconds, what, promise) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`waited ${milliseconds} ms for ${what}`)), milliseconds);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
