// Sends one file with tus-js-client as it is. Argument: JSON of the path and of the client's options. Prints the address.
import { createReadStream } from "node:fs";
import { PassThrough } from "node:stream";

import { Upload } from "tus-js-client";

const { path, ...options } = JSON.parse(process.argv[2]);
const file = createReadStream(path);
// What comes through a pipe has no length that the client could know before its end.
const source = options.uploadLengthDeferred ? file.pipe(new PassThrough()) : file;
const upload = new Upload(source, {
  ...options,
  onError(error) {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess() {
    console.log(upload.url);
  },
});
upload.start();
