// jQuery File Upload as its documentation shows it: where to, with which headers, in chunks of which size; `_id` from
// each answer to the next request; and after a break on from where the server says. What is to be set comes in the
// address, behind the #.
import jQuery from "jquery";
import "blueimp-file-upload";

const { url, headers, maxChunkSize } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const said = document.getElementById("said");
let id = null;

jQuery("#file").fileupload({
  url,
  headers,
  maxChunkSize,
  formData: () => (id === null ? [] : [{ name: "_id", value: id }]),
  chunkdone: (_event, data) => {
    id = data.result._id;
  },
  done: (_event, data) => {
    said.value = JSON.stringify(data.result);
  },
  fail: async (_event, data) => {
    if (id === null || data.errorThrown === "abort") {
      said.value = `failed: ${data.errorThrown}`;
      return;
    }
    const { ranges } = await jQuery.ajax({ url: `${url}/${id}`, headers });
    data.uploadedBytes = ranges[0].end + 1;
    data.data = null;
    data.submit();
  },
});
