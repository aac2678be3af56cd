import { defineConfig, loadEnv } from "vite";

export default defineConfig(({ mode }) => {
  const { SLIDEMILL_URL } = loadEnv(mode, ".", "SLIDEMILL_");
  return {
    build: {
      target: "es2022",
      // A data: URL would need an exception in the gateway's content security policy.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      chunkSizeWarningLimit: 700,
    },
    // `SLIDEMILL_URL=http://127.0.0.1:PORT npm run dev` works on the page against a running stack.
    server: SLIDEMILL_URL === undefined ? {} : { proxy: { "/api": SLIDEMILL_URL } },
  };
});
