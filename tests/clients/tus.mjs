// Sends one file with tus-js-client as it is. Argument: JSON of the path and of the client's options. Prints the address.
import { createReadStream } from "node:fs";

import { Upload } from "tus-js-client";

const { path, ...options } = JSON.parse(process.argv[2]);
const upload = new Upload(createReadStream(path), {
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
