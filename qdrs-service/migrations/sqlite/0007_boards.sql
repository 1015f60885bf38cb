-- One board, one spelling. `normal_hardware_id` is `qdrs_core::hardware_id::HardwareId`, NULL for a blank one.

-- A board is made from the confirmation of its serial on, also when that is scrapped; a release frees it.
DROP INDEX reservation_board;
UPDATE reservation SET hardware_id = normal_hardware_id(hardware_id)
    WHERE hardware_id IS NOT normal_hardware_id(hardware_id);
UPDATE reservation SET listed_board = normal_hardware_id(listed_board)
    WHERE listed_board IS NOT normal_hardware_id(listed_board);

-- 0; above it for each further serial of a board that an older version took for different ones. They are kept, and told by
-- `config check` and at the start of the service.
ALTER TABLE reservation ADD COLUMN board_no INTEGER NOT NULL DEFAULT 0 CHECK (board_no >= 0);
UPDATE reservation SET board_no = numbered.no - 1
    FROM (SELECT id, row_number() OVER (PARTITION BY product, hardware_id ORDER BY state <> 'confirmed', rowid) AS no FROM reservation
          WHERE evidence IS NOT NULL AND state <> 'released' AND hardware_id IS NOT NULL)
    AS numbered WHERE numbered.id = reservation.id AND numbered.no > 1;

CREATE UNIQUE INDEX reservation_board ON reservation (product, hardware_id, board_no)
    WHERE evidence IS NOT NULL AND state <> 'released' AND hardware_id IS NOT NULL;
