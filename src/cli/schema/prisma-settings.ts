// prisma.config.ts: what keeps `prisma migrate` from dropping or resetting on account of headcount's tables.
//
// After Prisma's own description of `tables.external` (Prisma 6.13 and later). It was not run: Prisma's engine is a
// download that the place where this was written could not reach.
import { defineConfig } from "prisma/config";

export default defineConfig({
  schema: "prisma/schema.prisma",
  experimental: { externalTables: true },
  tables: {
    external: [TABLES],
  },
});
