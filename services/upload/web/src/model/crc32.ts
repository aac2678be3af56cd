/** CRC-32 as zips have it (ISO 3309), eight bytes at a time from eight tables. */

const TABLES: Uint32Array[] = [];
for (let table = 0; table < 8; table += 1) {
  TABLES.push(
    Uint32Array.from({ length: 256 }, (_, byte) => {
      if (table > 0) {
        const before = TABLES[table - 1]?.[byte] ?? 0;
        return (before >>> 8) ^ (TABLES[0]?.[before & 0xff] ?? 0);
      }
      let crc = byte;
      for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
      return crc;
    }),
  );
}

/** The CRC of bytes that follow others with the CRC `before`. */
export function crc32(data: Uint8Array, before = 0): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES as unknown as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ];
  let crc = ~before;
  let at = 0;
  // An index beyond an array would be undefined, but none is.
  const byte = (table: Uint32Array, index: number): number => table[index] as number;
  for (const whole = data.length - 7; at < whole; at += 8) {
    crc ^=
      (data[at] as number) |
      ((data[at + 1] as number) << 8) |
      ((data[at + 2] as number) << 16) |
      ((data[at + 3] as number) << 24);
    crc =
      byte(t7, crc & 0xff) ^
      byte(t6, (crc >>> 8) & 0xff) ^
      byte(t5, (crc >>> 16) & 0xff) ^
      byte(t4, crc >>> 24) ^
      byte(t3, data[at + 4] as number) ^
      byte(t2, data[at + 5] as number) ^
      byte(t1, data[at + 6] as number) ^
      byte(t0, data[at + 7] as number);
  }
  for (; at < data.length; at += 1) crc = byte(t0, (crc ^ (data[at] as number)) & 0xff) ^ (crc >>> 8);
  return ~crc >>> 0;
}
