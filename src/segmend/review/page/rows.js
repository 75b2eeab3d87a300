// The rows of an audit: what is known of each label, which are listed in which order, and what is decided.

const last = (value) => value ?? Infinity; // unknown numbers come last
const byName = (a, b) => a.case.localeCompare(b.case, undefined, { numeric: true });

/** Orders of the list; one is offered if the audit has its column. */
export const ORDERS = [
  { name: "rank", text: "most suspect first", column: "rank", compare: (a, b) => a.rank - b.rank },
  {
    name: "dice", text: "lowest expected Dice first", column: "expected_dice",
    compare: (a, b) => last(a.expected_dice) - last(b.expected_dice),
  },
  {
    name: "gain", text: "largest expected gain first", column: "expected_dice_proposal",
    compare: (a, b) => last(lack(a)) - last(lack(b)),
  },
  {
    name: "changed", text: "largest change first", column: "changed_voxels",
    compare: (a, b) => (b.changed_voxels ?? 0) - (a.changed_voxels ?? 0),
  },
  { name: "case", text: "by name", column: "case", compare: byName },
];

/** Expected Dice that the proposal would lose; negative where it gains. */
function lack({ proposal, expected_dice, expected_dice_proposal }) {
  return proposal === "none" || expected_dice_proposal == null ? null : (expected_dice ?? 0) - expected_dice_proposal;
}

const STATES = {
  "": () => true,
  open: (row) => !row.decision,
  decided: (row) => Boolean(row.decision),
  comment: (row) => Boolean(row.comment),
};

export class Labels {
  /** @param columns of all rows, in the order of the ranks. */
  constructor(columns) {
    const names = Object.keys(columns).filter((name) => Array.isArray(columns[name]));
    this.rows = columns.case.map((_, index) => {
      const row = { index, decision: "", comment: "", others: 0 };
      for (const name of names) row[name] = columns[name][index];
      row.rank ??= index + 1;
      return row;
    });
    this.columns = new Set(names);
    this.byCase = Map.groupBy ? Map.groupBy(this.rows, (row) => row.case) : groupByCase(this.rows);
  }

  find(name, label) {
    return this.byCase.get(name)?.find((row) => row.label === label) ?? null;
  }

  /** Different values of a column, the most frequent first. */
  values(column) {
    const counts = new Map();
    for (const row of this.rows) if (row[column]) counts.set(row[column], (counts.get(row[column]) ?? 0) + 1);
    return [...counts].sort(([, a], [, b]) => b - a);
  }

  /** The rows that fit, in order. */
  filter({ search, label, kind, annotator, state, suspect, order }) {
    const wanted = search.trim().toLowerCase();
    const decided = STATES[state] ?? ((row) => row.decision === state);
    const found = this.rows.filter((row) =>
      (!suspect || row.suspect) && ["", row.label].includes(label) && ["", row.kind].includes(kind) &&
      ["", row.annotator].includes(annotator) && decided(row) && row.case.toLowerCase().includes(wanted));
    const { compare } = ORDERS.find(({ name }) => name === order) ?? ORDERS[0];
    return found.sort((a, b) => compare(a, b) || a.rank - b.rank);
  }

  /** How many labels there are of each decision, and of the suspect ones. */
  progress() {
    const counts = { accept: 0, reject: 0, unsure: 0, replace: 0, decided: 0, suspect: 0, suspectDecided: 0 };
    for (const { decision, suspect } of this.rows) {
      if (decision) {
        counts[decision]++;
        counts.decided++;
      }
      if (suspect) {
        counts.suspect++;
        if (decision) counts.suspectDecided++;
      }
    }
    return counts;
  }
}

function groupByCase(rows) {
  const groups = new Map();
  for (const row of rows) groups.set(row.case, [...groups.get(row.case) ?? [], row]);
  return groups;
}

/** What is known of a label, as names and values for people. */
export function factsOf(row, unit) {
  const dice = (value) => value == null ? "–" : value.toFixed(2);
  const facts = [];
  if (row.expected_dice != null) facts.push(["expected Dice", dice(row.expected_dice)]);
  if (row.expected_dice_proposal != null && row.proposal !== "none") {
    facts.push(["with the proposal", dice(row.expected_dice_proposal)]);
  }
  if (row.best_dice != null) facts.push(["attainable", dice(row.best_dice)]);
  facts.push(["score", `${dice(row.score)}${row.suspect ? ", suspect" : ""}`]);
  facts.push(["proposal", describeProposal(row)]);
  if (row.correction_mm) {
    const way = row.correction_mm > 0 ? "outward" : "inward";
    const error = row.correction_se_mm == null ? "" : ` ± ${row.correction_se_mm.toFixed(1)}`;
    facts.push(["boundary offset", `move ${Math.abs(row.correction_mm).toFixed(1)}${error} ${unit} ${way}`]);
  }
  if (row.annotator) facts.push(["annotator", row.annotator]);
  if (row.quality) facts.push(["quality", row.quality]);
  if (row.others) facts.push(["other readers", `${row.others} decided`]);
  return facts;
}

function describeProposal({ proposal, changed_voxels, proposal_score }) {
  if (proposal === "none") return "none: nothing to correct";
  const voxels = changed_voxels == null ? "" : ` ${changed_voxels.toLocaleString("en").replaceAll(",", " ")} voxels`;
  const what = proposal === "shift" ? `moves the boundary,${voxels}` : `changes${voxels}`;
  return proposal_score == null ? what : `${what}, ${Math.round(100 * proposal_score)} % certain`;
}
