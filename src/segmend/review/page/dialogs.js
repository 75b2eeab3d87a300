// Windows over the page: who reads, what was exported, how readers agree; and other programs.

const copied = async (button, text) => {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select and copy it";
  }
};

/** A command to copy. */
function commandLine(command) {
  const box = make("div", "command"), button = make("button", "", "Copy");
  button.type = "button";
  button.addEventListener("click", () => copied(button, command));
  box.append(make("code", "", command), button);
  return box;
}

/** Asks for the reader's name until there is one. */
export function askReader({ readers, blinded }, known) {
  const dialog = byId("reader"), field = byId("reader-name");
  byId("readers").replaceChildren(...readers.map((name) => Object.assign(make("option"), { value: name })));
  byId("blinded").hidden = !blinded;
  field.value = known;
  dialog.showModal();
  field.select();
  return new Promise((done) => {
    const cancel = (event) => event.preventDefault();
    const close = () => {
      const name = field.value.trim();
      if (!name) return dialog.showModal();
      dialog.removeEventListener("cancel", cancel);
      dialog.removeEventListener("close", close);
      done(name);
    };
    dialog.addEventListener("cancel", cancel);
    dialog.addEventListener("close", close);
  });
}

export function showExport({ file, accepted, rejected, unsure, replaced, disagreed, command }) {
  const content = byId("exported").querySelector(".content");
  const counts = [`${accepted} accepted`, `${rejected} rejected`, `${unsure} unsure`];
  if (replaced) counts.push(`${replaced} replaced`);
  if (disagreed) counts.push(`${disagreed} on which readers disagree (unsure)`);
  content.replaceChildren(make("p", "", `${counts.join(", ")}.`), make("p", "", "Written to"), make("p", "file", file));
  if (command) content.append(make("p", "", "Run this line next. It writes a corrected copy of the data:"), commandLine(command));
  byId("exported").showModal();
}

export function showAgreement({ readers, pairs }) {
  const content = byId("agreement").querySelector(".content");
  if (!pairs.length) {
    const text = readers.length > 1 ? "No label was decided by two readers." : "Only one reader has decided so far.";
    content.replaceChildren(make("p", "", text));
  } else {
    const table = make("table"), head = make("tr");
    const titles = ["first reader", "second reader", "labels of both", "agreement", "Cohen's kappa"];
    for (const title of titles) head.append(Object.assign(make("th", "", title), { scope: "col" }));
    const lines = pairs.map(({ first, second, labels, agreement, kappa }) => {
      const line = make("tr"), percent = agreement == null ? "–" : `${Math.round(100 * agreement)} %`;
      for (const cell of [first, second, labels, percent, kappa == null ? "–" : kappa.toFixed(2)]) line.append(make("td", "", cell));
      return line;
    });
    table.append(head, ...lines);
    content.replaceChildren(table);
  }
  byId("agreement").showModal();
}

/** Opening a case in other programs, and taking back what they have saved. */
export class Tools {
  /**
   * @param current the row that is looked at; @param reader their name; @param replaced called with a case that has
   * another label now; @param say shows a message; @param decider of the reader.
   */
  constructor(connection, { current, reader, decider, replaced, say }) {
    Object.assign(this, { connection, current, reader, decider, replaced, say });
    for (const button of document.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => this.#try(button, () => this.#open(button.dataset.tool)));
    }
    byId("replace").addEventListener("click", (event) => this.#try(event.target, () => this.#replace()));
    byId("unreplace").addEventListener("click", (event) => this.#try(event.target, async () => {
      const { case: name } = this.current();
      this.decider.dropReplacement(this.current());
      await this.decider.outbox.flush();
      this.replaced(name);
    }));
  }

  /** For another label. */
  clear(row) {
    if (this.shown !== row.case) {
      byId("opened").replaceChildren();
      byId("file").value = "";
    }
    this.shown = row.case;
    byId("unreplace").hidden = row.decision !== "replace";
  }

  async #try(button, work) {
    button.disabled = true;
    try {
      await work();
    } catch (error) {
      this.say(error.message);
    }
    button.disabled = false;
  }

  async #open(tool) {
    const name = this.current().case;
    const { started, command, file } = await this.connection.send("/api/open", { case: name, tool, start: byId("begin").value });
    if (this.current().case !== name) return;
    const text = started ? "It is starting. Draw in this file and save it:" : "The program is not installed here. Run this line where it is:";
    byId("opened").replaceChildren(make("p", "", text), ...started ? [] : [commandLine(command)], make("p", "file", file ?? ""));
  }

  async #replace() {
    const row = this.current();
    await this.decider.outbox.flush();
    const answer = await this.connection.send("/api/replace", { reader: this.reader, case: row.case, file: byId("file").value.trim() });
    this.decider.steps = answer.steps ?? this.decider.steps;
    this.say(`${row.case} has a new label: ${answer.changed_voxels ?? 0} voxels changed.`);
    this.replaced(row.case, "replace");
  }
}
