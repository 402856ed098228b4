export { checkSchema, type MigrateOptions, migrate } from './apply.js';
export { applyRoleSettings, checkRoleSettings } from './role-settings.js';
