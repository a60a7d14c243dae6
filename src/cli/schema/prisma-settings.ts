// prisma.config.ts: what keeps `prisma migrate` from dropping or resetting on account of headcount's tables.
//
// `tables.external` needs Prisma 6.13 or later.
import { defineConfig } from "prisma/config";

export default defineConfig({
  schema: "prisma/schema.prisma",
  experimental: { externalTables: true },
  tables: {
    external: [TABLES],
  },
});
