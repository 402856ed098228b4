/** Budgets: what may be used, what was, and what they hold back. */
export { type BudgetPage, type BudgetRow, listBudgets, readBudget } from './list.js';
export { type Attachment, AttachmentKind, type NewBudget, type PutAnswer, putBudget } from './put.js';
export { type ReleaseAnswer, releaseUsage, type UsageRelease } from './release.js';
export {
  type Breach,
  type Counted,
  type Exceeded,
  type GroupedUsageAnswer,
  reportUsage,
  reportUsages,
  type UsageAnswer,
  type UsageReport,
  type Warning,
} from './report.js';
export { type BudgetReset, type ResetAnswer, resetBudget } from './reset.js';
export { type BoundSubject, readSpentFor, type SpentDimension } from './spent.js';
