skiff_room(api ROOMS base DEPENDS skiff::nlohmann)
