/** When a request that failed is sent again, and how far apart. */

/** About an hour of patience: 1, 2, 4, 8 seconds, then every 15. After it a person decides. */
export const RETRY_DELAYS_MS = Array.from({ length: 240 }, (_, n) => Math.min(15_000, 1000 * 2 ** n));

/**
 * True when the same request may succeed without anybody doing anything: the connection, the gateway or its load.
 * A full disk (507) is for a person to mend. A conflict (409) ends by asking where to go on.
 */
export const mayPass = (status: number): boolean =>
  [0, 408, 409, 423, 425, 429].includes(status) || (status >= 500 && status !== 507);

/** True when what is stored of a file is still there to go on with, however its upload ended. */
export const canGoOn = (status: number): boolean => mayPass(status) || [401, 403, 507].includes(status);
