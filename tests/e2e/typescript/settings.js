// What the pages get from the test, in the address after #: JSON with url, apiKey, proxy and prompt.

export const settings = () => JSON.parse(decodeURIComponent(location.hash.slice(1)));

/** Options with which sockets lead through the proxy at HOST:PORT, which the test cuts. */
export function proxied(host) {
  class Proxied extends WebSocket {
    constructor(address) {
      const url = new URL(address);
      url.host = host;
      super(url);
    }
  }
  const backoff = { baseSeconds: 0.1, capSeconds: 0.2 };
  return { WebSocket: Proxied, pace: { backoff, openSeconds: 60 } };
}
