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

const REASONS = {
  relative: "low for this class", absolute: "low expected Dice", both: "low expected Dice, also for this class",
};
const CHANGES = {
  shift: (voxels) => `shifts the boundary, ${voxels}`, regions: (voxels) => `changes ${voxels}`,
  erase: (voxels) => `erases all ${voxels}`, create: (voxels) => `draws ${voxels} where there are none`,
};

/** What a reader must not overlook about a proposal, or "". */
export const warningOf = ({ proposal }) =>
  ({ erase: "The proposal erases the whole object.", create: "The proposal creates a whole object." })[proposal] ?? "";

/** What is known of a label, as names and values for people. */
export function factsOf(row, unit) {
  const dice = (value) => value == null ? null : value.toFixed(2);
  const facts = [
    ["expected Dice", dice(row.expected_dice)],
    ["with the proposal", row.proposal === "none" ? null : dice(row.expected_dice_proposal)],
    ["attainable", dice(row.best_dice)],
    ["Dice between judges", dice(row.judges_dice)],
    ["score", dice(row.score)],
    ["suspect", row.suspect ? REASONS[row.reason] ?? "yes" : null],
    ["proposal", describeProposal(row, unit)],
    ["boundary", describeOffset(row, unit)],
    ["annotator", row.annotator],
    ["quality", row.quality],
    ["other readers", row.others ? `${row.others} decided` : null],
  ];
  return facts.filter(([, value]) => value);
}

function describeProposal({ proposal, changed_voxels, proposal_score }, unit) {
  if (proposal === "none") return "none";
  const count = (changed_voxels ?? 0).toLocaleString("en").replaceAll(",", " ");
  const what = CHANGES[proposal]?.(`${count} ${unit === "px" ? "pixels" : "voxels"}`) ?? proposal;
  return proposal_score == null ? what : `${what}, ${Math.round(100 * proposal_score)} % certain`;
}

/** By how much the boundary is off: what the proposal takes back, or else what a correction of offsets would. */
function describeOffset({ proposal, offset_mm, correction_mm, correction_se_mm }, unit) {
  const shifted = proposal === "shift" && offset_mm != null;
  const certain = correction_mm && Math.abs(correction_mm) > (correction_se_mm ?? 0);
  const off = shifted ? offset_mm : certain ? -correction_mm : null;
  if (off === null) return null;
  const error = shifted || correction_se_mm == null ? "" : ` ± ${correction_se_mm.toFixed(1)}`;
  return `${Math.abs(off).toFixed(1)}${error} ${unit} ${off > 0 ? "over-segmented" : "under-segmented"}`;
}
