// The page of a review: asks who reads, then lets them go through the labels.

import { Connection, openStorage } from "./api.js";
import { showBanner } from "./banner.js";
import { askReader } from "./dialogs.js";
import { Review } from "./review.js";

const NAME = "segmend reader"; // under which the browser keeps the reader's name

async function start() {
  const connection = new Connection(), storage = openStorage();
  connection.addEventListener("change", () => showBanner(connection));
  try {
    const audit = await connection.ask("/api/audit");
    document.title = `Label review: ${audit.data}`;
    byId("dataset").textContent = audit.data;
    byId("remarks").hidden = !audit.remarks.length;
    byId("remarks").querySelector("summary").textContent = `${audit.remarks.length} remark${audit.remarks.length === 1 ? "" : "s"}`;
    byId("remarks").querySelector("ul").replaceChildren(...audit.remarks.map((remark) => make("li", "", remark)));
    byId("agree").hidden = audit.blinded;
    const key = `${NAME} ${audit.mark}`, known = audit.reader || sessionStorage.getItem(key);
    const reader = known || await askReader(audit, storage.getItem(NAME) ?? "");
    storage.setItem(NAME, reader);
    sessionStorage.setItem(key, reader);
    byId("who").addEventListener("click", () => {
      sessionStorage.removeItem(key);
      location.reload();
    });
    byId("who").disabled = Boolean(audit.reader);
    const query = new URLSearchParams({ reader });
    connection.pulse = `/api/progress?${query}`;
    const columns = await connection.ask(`/api/labels?${query}`);
    const page = new Review(connection, storage, audit, reader, columns);
    connection.addEventListener("change", () => showBanner(connection, page.decider.outbox));
    connection.watch();
  } catch (error) {
    byId("banner").hidden = false;
    byId("banner").textContent = error.message;
    if (!connection.up) connection.addEventListener("change", () => location.reload());
  }
}

start();
