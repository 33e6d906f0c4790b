// A clock that stands still. It must be in place before Clerk's backend SDK is imported.

const RealDate = globalThis.Date;
const realSetTimeout = globalThis.setTimeout;

let nowMs = 0;

class FixedDate extends RealDate {
  constructor(...parts) {
    if (parts.length === 0) {
      super(nowMs);
    } else {
      super(...parts);
    }
  }

  static now() {
    return nowMs;
  }
}

export function installClock() {
  globalThis.Date = FixedDate;
  // The SDK waits between the attempts of a failing call; nobody needs to wait here.
  globalThis.setTimeout = (callback, _delay, ...args) => realSetTimeout(callback, 0, ...args);
}

export function setClock(milliseconds) {
  nowMs = milliseconds;
}
