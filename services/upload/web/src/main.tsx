import { render } from "preact";
import { refreshAccess } from "./api/client";
import { App } from "./app";
import { startRouter } from "./router";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/lists.css";
import "./styles/viewer.css";
import "./styles/operating.css";

startRouter();
void refreshAccess();

const root = document.getElementById("app");
if (root !== null) render(<App />, root);
