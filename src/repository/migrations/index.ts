/** What others may use of the migrations: bringing a schema up, checking it, and the settings of its role. */

export { checkSchema, type MigrateOptions, migrate } from './apply.js';
export { diagnoseSchema, type PendingMigration, type SchemaDiagnosis } from './diagnosis.js';
export { applyRoleSettings, checkRoleSettings } from './role-settings.js';
