// One line over the page while decisions do not reach the server.

/** Says when decisions do not reach the server. */
export function showBanner(connection, outbox = null) {
  const waiting = outbox?.waiting ?? 0, steps = `${waiting} step${waiting === 1 ? "" : "s"}`;
  const kept = waiting ? ` ${steps} wait in this browser.` : "";
  const trouble = outbox?.trouble ?? "";
  byId("banner").hidden = connection.up && !trouble;
  byId("banner").textContent = trouble ? `Decisions are not saved. ${trouble}${kept}`
    : `Server not reachable: decisions are not saved.${kept} The page goes on by itself when 'segmend review' runs again.`;
}
